"""What reaches a model, apart from what decides its answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import AuthenticationError, InvalidOptionError
from llm_wrappers.llm.provider.connection import Connection, split_params

ADDRESS = "http://localhost:8000/v1"


class TestSplitting:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("temperature", 0.5), ("max_tokens", 100), ("max_completion_tokens", 100),
            ("seed", 3), ("top_p", 1), ("stop", ["\n"]), ("logprobs", True), ("top_logprobs", 2),
            ("reasoning_effort", "low"), ("logit_bias", {"50256": -100}),
            ("stop_token_ids", [1, 2]), ("eos_token", "</s>"),
            ("thinking", {"type": "enabled", "budget_tokens": 1024}),
            ("extra_body", {"guided_choice": ["north", "south"]}), ("something_new", "x"),
        ],
    )  # fmt: skip
    def test_what_decides_the_answer(self, name, value):
        assert split_params({name: value}) == ({name: value}, {})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("api_base", ADDRESS), ("base_url", ADDRESS), ("api_key", "sk-123456"),
            ("api_key", None), ("api_key_env", "MY_KEY"), ("timeout", 3),
            ("api_version", "2024-10-21"), ("organization", "org"),
            ("extra_headers", {"X-Title": "Crafter"}), ("headers", {}),
            ("aws_region_name", "us-east-1"), ("azure_ad_token", "x"), ("vertex_project", "p"),
            ("client_secret", "x"), ("hf_token", "x"), ("some_password", "x"),
            ("google_credentials", {"type": "service_account"}), ("user", "me"),
            ("metadata", {"run": 7}), ("service_tier", "flex"),
            ("allowed_openai_params", ["seed"]),
        ],
    )  # fmt: skip
    def test_what_only_reaches_the_model(self, name, value):
        assert split_params({name: value}) == ({}, {name: value})

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("n", "sample="), ("stream", "read whole"), ("response_format", "schema="),
            ("tools", "schema="), ("num_retries", "retries="), ("max_retries", "retries="),
            ("caching", "cache="), ("cache", "cache="), ("mock_response", "ScriptedLLM"),
            ("mock_anything", "ScriptedLLM"), ("fallbacks", "one model per client"),
            ("model", "first argument"), ("messages", "ask()"),
            ("custom_llm_provider", "'openai/gpt-5-mini'"),
            ("drop_params", "nothing is dropped silently"),
            ("additional_drop_params", "nothing is dropped silently"),
            ("input_cost_per_token", "prices="), ("request_timeout", "timeout="),
            ("rpm", "requests_per_minute"), ("litellm_logging_obj", "no option"),
            ("client", "api_base="),
        ],
    )  # fmt: skip
    def test_what_would_break_the_client_is_refused(self, name, hint):
        with pytest.raises(InvalidOptionError, match=f"^{name} cannot be passed") as caught:
            split_params({"temperature": 0, name: 1})
        assert hint in str(caught.value)

    def test_a_secret_inside_a_parameter_is_refused(self):
        with pytest.raises(
            InvalidOptionError, match=r"extra_body\['api_key'\] looks like"
        ) as caught:
            split_params({"extra_body": {"api_key": "sk-123456"}})
        assert "sk-123456" not in str(caught.value)
        with pytest.raises(InvalidOptionError, match="password"):
            split_params({"extra_body": {"deep": {"password": "sk-123456"}}})

    @settings(deadline=None)
    @given(st.dictionaries(st.text(max_size=12), st.none() | st.integers() | st.text(max_size=5)))
    def test_nothing_is_lost(self, params):
        try:
            answer, connection = split_params(params)
        except InvalidOptionError:
            return
        assert {**answer, **connection} == params
        assert not answer.keys() & connection.keys()


class TestConnection:
    def test_the_arguments_for_litellm(self):
        headers = {"X-Title": "Crafter", "X-Pass": "secret-pass"}
        connection = Connection(
            api_base=ADDRESS, api_key="sk-123456", timeout=3, extra_headers=headers, api_version="1"
        )
        assert connection.arguments() == {
            "api_base": ADDRESS,
            "api_key": "sk-123456",
            "timeout": 3.0,
            "extra_headers": headers,
            "api_version": "1",
        }

    def test_the_repr_hides_secrets(self):
        connection = Connection(
            api_key="sk-123456", hf_token="hf-123456", extra_headers={"X-Title": "a", "X-Pass": "b"}
        )
        assert repr(connection) == (
            "Connection(timeout=60.0, extra_headers={'X-Title': 'a'}, api_key=[secret], "
            "extra_headers=[secret], hf_token=[secret])"
        )

    @pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "3", True, None])
    def test_timeouts_that_cannot_be(self, timeout):
        with pytest.raises(InvalidOptionError, match="timeout must be a finite number > 0"):
            Connection(timeout=timeout)

    @pytest.mark.parametrize("address", ["localhost:8000", "ftp://x", "http://", "", 7])
    def test_addresses_that_are_none(self, address):
        with pytest.raises(InvalidOptionError, match="like 'http://localhost:8000/v1', got"):
            Connection(api_base=address)

    @pytest.mark.parametrize(
        "address", ["https://me:sk-123456@host/v1", "https://host/v1?api-key=sk-123456"]
    )
    def test_addresses_with_secrets(self, address):
        with pytest.raises(InvalidOptionError, match="must not hold a password") as caught:
            Connection(api_base=address)
        assert "sk-123456" not in str(caught.value)

    @pytest.mark.parametrize("key", ["", " sk-123456", "sk-123456\n", "sk\n-123456", 7])
    def test_keys_that_no_header_can_hold(self, key):
        with pytest.raises(InvalidOptionError, match="expected an API key in api_key") as caught:
            Connection(api_key=key)
        assert "123456" not in str(caught.value)

    @pytest.mark.parametrize("name", ["sk-123456", "", 7])
    def test_a_key_where_a_variable_is_expected(self, name):
        with pytest.raises(InvalidOptionError, match="name of an environment variable") as caught:
            Connection(api_key_env=name)
        assert "123456" not in str(caught.value)

    def test_a_key_given_twice(self):
        with pytest.raises(InvalidOptionError, match="not both"):
            Connection(api_key="sk-123456", api_key_env="MY_KEY")
        with pytest.raises(InvalidOptionError, match="are the same"):
            Connection(api_base=ADDRESS, base_url=ADDRESS)

    def test_a_parameter_of_the_question(self):
        with pytest.raises(InvalidOptionError, match="temperature does not say how to reach"):
            Connection(temperature=0)

    @pytest.mark.parametrize("value", [None, "", " "])
    def test_a_variable_that_is_not_set(self, value, monkeypatch):
        monkeypatch.delenv("MY_KEY", raising=False)
        if value is not None:
            monkeypatch.setenv("MY_KEY", value)
        with pytest.raises(AuthenticationError, match="MY_KEY, which is not set"):
            Connection(api_key_env="MY_KEY").arguments()
