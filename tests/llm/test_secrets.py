"""A key that is looked for everywhere it must not be."""

import copy
import io
import logging
import os
import pickle
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import LLMWrappersError
from llm_wrappers.llm.brake import allow_requests
from llm_wrappers.llm.provider.connection import Connection
from llm_wrappers.llm.provider.litellm_transport import LiteLLMTransport, litellm
from llm_wrappers.llm.provider.redaction import (
    Secrets,
    is_secret,
    smells_of_secret,
)
from llm_wrappers.llm.provider.replies import read_failure
from llm_wrappers.llm.request import Request, as_messages
from llm_wrappers.testing.llm_server import Fault, LLMServer

CANARY = "sk-CANARY/0a1b2c3d+4e5f=="
MODELS = ["openai/test-model", "hosted_vllm/test-model"]


class Everything(logging.Handler):
    """Keeps what handlers get to see of each record, as it was at that moment."""

    def __init__(self):
        super().__init__(logging.NOTSET)
        self.seen = []

    def emit(self, record):
        error = record.exc_info[1] if record.exc_info else None
        chain = "".join(traceback.format_exception(error)) if error else ""
        self.seen.append(f"{record.getMessage()} {vars(record)!r} {chain}")


@pytest.fixture
def logs(monkeypatch):
    """Turns on the logging of everybody, litellm's own verbose mode included."""
    module = litellm()  # Which makes loggers, and sets levels.
    stream = io.StringIO()
    everything = Everything()
    everything.setFormatter(logging.Formatter())
    plain = logging.StreamHandler(stream)
    root = logging.getLogger()
    loggers = [
        logger
        for logger in logging.root.manager.loggerDict.values()
        if isinstance(logger, logging.Logger)
    ]
    levels = {logger: logger.level for logger in [root, *loggers]}
    for logger in levels:
        logger.setLevel(logging.DEBUG)
    for handler in (everything, plain):
        root.addHandler(handler)
    module._turn_on_debug()
    yield lambda: "\n".join([*everything.seen, stream.getvalue()])
    for handler in (everything, plain):
        root.removeHandler(handler)
    for logger, level in levels.items():
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def _requests_allowed(monkeypatch):
    for name in os.environ:
        if name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    with allow_requests(True):
        yield


def by_argument(monkeypatch):
    return {"api_key": CANARY}


def by_variable(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("HOSTED_VLLM_API_KEY", CANARY)
    return {}


def by_named_variable(monkeypatch):
    monkeypatch.setenv("A_PLACE_OF_MY_OWN", CANARY)
    return {"api_key_env": "A_PLACE_OF_MY_OWN"}


def by_header(monkeypatch):
    return {"extra_headers": {"Api-Key": f"Bearer {CANARY}", "X-Title": "Crafter"}}


def by_odd_header(monkeypatch):
    return {"extra_headers": {"X-Whatever": CANARY}}


WAYS = [by_argument, by_variable, by_named_variable, by_header, by_odd_header]

ECHO = f'Incorrect API key provided: {CANARY}. Header was "Bearer {CANARY}".'
OUTCOMES = {
    "success": None,
    "in_the_answer": Fault.wrong_schema("fine"),
    "401": Fault.unauthorized(ECHO),
    "400": Fault.error(400, ECHO, headers={"X-Echo": CANARY}),
    "404": Fault.error(404, ECHO),
    "429": Fault.error(429, ECHO),
    "500": Fault.error(500, ECHO),
    "malformed": Fault("malformed", lambda _: f"{CANARY}: no JSON".encode()),
    "plain_500": Fault("plain_500", lambda _: ECHO.encode(), status=500),
    "cut": Fault.cut(),
    "timeout": Fault.slow(20),
}


def exceptions_of(error):
    """All that can be made into text of an exception: itself, what it came from, its pickle."""
    links, texts = [error], []
    while links:
        link = links.pop()
        texts += [
            str(link),
            repr(link),
            repr(link.args),
            repr(vars(link)),
            repr(pickle.dumps(link)),
        ]
        texts += traceback.format_exception(link)
        links += [other for other in (link.__cause__, link.__context__) if other is not None]
    return "\n".join(texts)


def locals_of(error):
    """The local variables on the way, which crash reporters send along."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][1:]
    return "\n".join(repr(frame.f_locals) for frame in frames)


class TestCanary:
    @pytest.mark.parametrize("model", MODELS)
    @pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
    def test_it_is_nowhere(self, way, model, monkeypatch, logs, capfd):
        options = way(monkeypatch)
        request = Request(model=model, messages=as_messages("Where is the water?"))
        with LLMServer(faults=OUTCOMES.values()) as server:
            for number, outcome in enumerate(OUTCOMES):
                timeout = 0.3 if outcome == "timeout" else 20.0
                connection = Connection(api_base=server.api_base, timeout=timeout, **options)
                transport = LiteLLMTransport(connection)
                seen = [repr(transport), repr(connection), repr(pickle.dumps(transport))]
                try:
                    seen.append(transport.complete(request, send_schema=False).model_dump_json())
                except LLMWrappersError as error:
                    seen += [exceptions_of(error), locals_of(error)]
                assert CANARY in str(server.headers[number]), outcome
                text = "\n".join([*seen, logs(), *capfd.readouterr()])
                assert "sk-CANARY" not in text, outcome

    def test_the_logs_are_there(self, logs):
        """Or else the test above would see nothing because there is nothing to see."""
        with LLMServer(faults=[Fault.error(500, ECHO)]) as server:
            transport = LiteLLMTransport(Connection(api_base=server.api_base, api_key=CANARY))
            request = Request(model=MODELS[0], messages=as_messages("Where is the water?"))
            with pytest.raises(LLMWrappersError, match=r"Incorrect API key provided: \[secret\]"):
                transport.complete(request, send_schema=False)
        text = logs()
        for logger in ("LiteLLM", "openai._base_client", "httpcore.http11", "httpx"):
            assert f"'name': '{logger}'" in text
        assert "[secret]" in text


class TestPickles:
    def test_a_copy_finds_its_key_in_the_environment(self, monkeypatch):
        with LLMServer() as server:
            transport = LiteLLMTransport(Connection(api_base=server.api_base, api_key=CANARY))
            monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-worker")
            copied = pickle.loads(pickle.dumps(transport))
            copied.complete(
                Request(model=MODELS[0], messages=as_messages("Hello")), send_schema=False
            )
            assert server.headers[0]["authorization"] == "Bearer sk-of-the-worker"

    @pytest.mark.parametrize("times", [1, 2])
    def test_or_says_that_keys_do_not_travel(self, times):
        transport = LiteLLMTransport(Connection(api_key=CANARY))
        for _ in range(times):
            transport = pickle.loads(pickle.dumps(transport))
        with pytest.raises(LLMWrappersError, match=r"do not travel .*api_key_env=.*OPENAI_API_KEY"):
            transport.complete(
                Request(model="openai/gpt-5-mini", messages=as_messages("Hi")), send_schema=False
            )

    def test_secret_headers_do_not_travel_either(self):
        with LLMServer() as server:
            headers = {"X-Pass": CANARY, "X-Title": "Crafter"}
            transport = LiteLLMTransport(
                Connection(api_base=server.api_base, extra_headers=headers)
            )
            copied = pickle.loads(pickle.dumps(transport))
            with pytest.raises(LLMWrappersError, match="extra_headers: secrets do not travel"):
                copied.complete(
                    Request(model=MODELS[0], messages=as_messages("Hi")), send_schema=False
                )
            assert server.count == 0

    def test_a_copy_in_this_process_keeps_its_key(self):
        connection = Connection(api_key=CANARY)
        for copied in (copy.copy(connection), copy.deepcopy([connection])[0]):
            assert copied.arguments()["api_key"] == CANARY


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "api_key", "apikey", "x-api-key", "X-Auth-Token", "aws_secret_access_key",
            "aws_session_token", "azure_ad_token", "client_secret", "vertex_credentials",
            "password", "Authorization", "extra_headers", "Cookie", "HF_TOKEN",
        ],
    )  # fmt: skip
    def test_of_secrets(self, name):
        assert smells_of_secret(name)
        assert is_secret(name, CANARY)
        assert not is_secret(name, None)
        assert not is_secret(name, 7)

    @pytest.mark.parametrize(
        "name",
        [
            "max_tokens", "max_completion_tokens", "min_tokens", "temperature", "author",
            "tokenizer", "keyword", "eos_token", "api_key_env", "prompt_cache_key",
        ],
    )  # fmt: skip
    def test_of_others(self, name):
        assert not smells_of_secret(name)


texts = st.text(min_size=6, max_size=20).filter(lambda text: len(text.strip()) >= 6)


class TestSecrets:
    @given(texts, st.text(max_size=20), st.text(max_size=20))
    @settings(deadline=None)
    def test_none_is_left_in_any_text(self, secret, before, after):
        redacted = Secrets([{"a": [secret]}]).redact(f"{before}{secret}{after}")
        assert secret.strip() not in redacted.replace("[secret]", "")

    @given(texts)
    @settings(deadline=None)
    def test_nor_in_other_spellings(self, secret):
        import json
        from urllib.parse import quote

        for form in (quote(secret, safe=""), json.dumps(secret), repr(secret), f"Bearer {secret}"):
            assert "[secret]" in Secrets([secret]).redact(f"<{form}>")

    def test_those_of_the_environment_count(self, monkeypatch):
        monkeypatch.setenv("SOME_API_KEY", CANARY)
        monkeypatch.setenv("SOME_NAME", "harmless-value")
        assert Secrets().redact(f"{CANARY} harmless-value") == "[secret] harmless-value"

    def test_a_text_is_shortened_after_redaction(self):
        """Or half a key could remain at the end."""
        failure = read_failure(ValueError("x" * 290 + CANARY), Secrets([CANARY]))
        assert "sk-" not in failure.text
        assert len(failure.text) <= 300
