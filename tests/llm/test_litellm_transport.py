"""Requests through litellm to a real server on this machine."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from llm_wrappers.errors import (
    AuthenticationError,
    InvalidOptionError,
    InvalidRequestError,
    PromptTooLongError,
    ProviderError,
    RequestsNotAllowedError,
    UnknownModelError,
)
from llm_wrappers.llm.brake import allow_requests
from llm_wrappers.llm.provider.connection import Connection
from llm_wrappers.llm.provider.litellm_transport import LiteLLMTransport, litellm
from llm_wrappers.llm.request import Request, as_messages
from llm_wrappers.testing.llm_server import Fault, LLMServer

MODEL = "openai/test-model"
# litellm has two ways to speak to OpenAI-compatible servers: OpenAI's library, and its own client.
BOTH = pytest.mark.parametrize("model", [MODEL, "hosted_vllm/test-model"])


@pytest.fixture(autouse=True)
def _requests_allowed(monkeypatch):
    for name in os.environ:
        if name.endswith(("_API_KEY", "_API_BASE", "_BASE_URL")):
            monkeypatch.delenv(name)
    with allow_requests(True):
        yield


def request(prompt="Where is the water?", model=MODEL, schema=None, **params):
    return Request(model=model, messages=as_messages(prompt), params=params, answer_schema=schema)


def transport_to(server, *, prices=None, **options):
    return LiteLLMTransport(Connection(api_base=server.api_base, **options), prices=prices)


def ask(transport, *args, send_schema=False, **kwargs):
    return transport.complete(request(*args, **kwargs), send_schema=send_schema)


class TestAnswers:
    @BOTH
    def test_text_and_usage(self, model):
        with LLMServer("To the north.") as server:
            completion = ask(transport_to(server), model=model)
        assert completion.text == "To the north."
        assert completion.model == "test-model"
        assert (completion.prompt_tokens, completion.completion_tokens) == (4, 3)
        assert completion.finish_reason == "stop"
        assert completion.dollars is None
        assert completion.logprobs is None
        assert 0 < completion.seconds < 60

    @BOTH
    def test_what_is_sent_is_the_question_and_nothing_else(self, model):
        with LLMServer() as server:
            ask(transport_to(server), model=model, temperature=0, max_tokens=7, seed=3)
            assert server.requests == [
                {
                    "model": "test-model",
                    "messages": [{"role": "user", "content": "Where is the water?"}],
                    "temperature": 0,
                    "max_tokens": 7,
                    "seed": 3,
                }
            ]

    @BOTH
    def test_log_probabilities(self, model):
        with LLMServer("go north") as server:
            completion = ask(transport_to(server), model=model, logprobs=True, top_logprobs=2)
        assert completion.logprobs == [
            {
                "token": word,
                "logprob": -0.5,
                "top_logprobs": [
                    {"token": word, "logprob": -0.5},
                    {"token": f"{word}1", "logprob": -1.5},
                ],
            }
            for word in ("go", "north")
        ]

    @BOTH
    def test_the_price_is_that_of_the_caller_where_given(self, model):
        with LLMServer("yes") as server:
            completion = ask(transport_to(server, prices=(1.0, 10.0)), "one two three", model=model)
        assert completion.dollars == pytest.approx((3 * 1.0 + 1 * 10.0) / 1e6)

    def test_tokens_are_estimated_where_the_server_counts_none(self):
        fault = Fault("no usage", lambda reply: {**reply, "usage": None})
        with LLMServer("yes " * 50, faults=[fault]) as server:
            completion = ask(transport_to(server), "word " * 200)
        assert 190 <= completion.prompt_tokens <= 210
        assert 45 <= completion.completion_tokens <= 105

    @BOTH
    def test_a_refusal_is_an_answer(self, model):
        refusal = Fault.message({"role": "assistant", "content": None, "refusal": "I must not."})
        with LLMServer(faults=[refusal]) as server:
            completion = ask(transport_to(server), model=model)
        assert (completion.text, completion.finish_reason) == ("I must not.", "refusal")


@dataclasses.dataclass
class Case:
    fault: Fault
    error: type
    says: str
    transient: bool | None = None
    status: int | None = None
    retry_after: float | None = None
    maybe_billed: bool = False


FILTERED = Fault.message(
    {"role": "assistant", "content": None}, finish_reason="content_filter", name="content_filter"
)
CASES = [
    Case(Fault.unauthorized(), AuthenticationError, "Incorrect API key provided"),
    Case(Fault.error(403), AuthenticationError, "was refused"),
    Case(Fault.unknown_model(), UnknownModelError, "does not exist"),
    Case(Fault.error(404, "nothing here"), UnknownModelError, "api_base="),
    Case(Fault.too_long(), PromptTooLongError, "8192 tokens"),
    Case(Fault.error(400, "Bad tea."), InvalidRequestError, "Bad tea"),
    Case(Fault.error(413, "Too large."), InvalidRequestError, "Too large"),
    Case(Fault.error(422, "Bad cup."), InvalidRequestError, "Bad cup"),
    Case(FILTERED, InvalidRequestError, "content filter"),
    Case(Fault.quota(), ProviderError, "no money left", False, 429),
    Case(Fault.error(402), ProviderError, "no money left", False, 402),
    Case(Fault.error(418, "A pot."), ProviderError, "A pot", False, 418),
    Case(Fault.rate_limit(), ProviderError, "lower concurrency", True, 429),
    Case(Fault.rate_limit(2), ProviderError, "Rate limit", True, 429, retry_after=2.0),
    Case(Fault.rate_limit(0.5), ProviderError, "Rate limit", True, 429, retry_after=0.5),
    Case(Fault.error(408), ProviderError, "out of order", True, 408),
    Case(Fault.error(409), ProviderError, "out of order", True, 409),
    Case(Fault.error(500), ProviderError, "out of order", True, 500),
    Case(Fault.error(502), ProviderError, "out of order", True, 502),
    Case(Fault.error(503), ProviderError, "out of order", True, 503),
    Case(Fault.error(529), ProviderError, "out of order", True, 529),
    Case(Fault.cut(), ProviderError, "was lost", True, maybe_billed=True),
    Case(Fault.malformed(), ProviderError, "no JSON", True, maybe_billed=True),
    Case(Fault.empty_choices(), ProviderError, "without any answer", True, maybe_billed=True),
    Case(
        Fault.message({"role": "assistant", "content": None}, name="no_content"),
        ProviderError,
        "an empty message",
        True,
        maybe_billed=True,
    ),
    Case(Fault("list", lambda _: [1]), ProviderError, "cannot be read", True, maybe_billed=True),
    Case(Fault.slow(30), ProviderError, "did not answer in time", True, maybe_billed=True),
]


class TestFailures:
    @BOTH
    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.fault.name)
    def test_each_becomes_one_of_ours_after_one_request(self, case, model):
        with LLMServer(faults=[case.fault]) as server:
            timeout = 0.4 if case.fault.delay else 30.0
            with pytest.raises(case.error) as caught:
                ask(transport_to(server, timeout=timeout), model=model)
            assert server.count == 1
            assert ask(transport_to(server), model=model).text == "yes"
        error = caught.value
        assert type(error) is case.error
        assert case.says in str(error)
        assert model in str(error)
        assert ".." not in str(error)
        assert error.__context__ is None
        assert error.__cause__ is None
        if case.error is ProviderError:
            assert (error.transient, error.status) == (case.transient, case.status)
            assert error.retry_after == case.retry_after
            assert error.maybe_billed is case.maybe_billed

    @BOTH
    def test_a_dead_port(self, model):
        with LLMServer() as server:
            transport = transport_to(server, timeout=5.0)
        with pytest.raises(ProviderError, match="cannot be reached") as caught:
            ask(transport, model=model)
        assert caught.value.transient
        assert not caught.value.maybe_billed

    @pytest.mark.parametrize("model", ["nope/gpt", "nope"])
    def test_an_unknown_provider(self, model, capfd):
        with pytest.raises(UnknownModelError, match=r"no provider for .*expected provider/model"):
            ask(LiteLLMTransport(), model=model)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize(
        ("model", "params"),
        [("openai/gpt-5-mini", {"temperature": 0.2}), ("anthropic/claude-sonnet-4-5", {"seed": 3})],
        ids=["value", "name"],
    )
    def test_a_parameter_that_the_model_does_not_take(self, model, params):
        with LLMServer() as server:
            transport = transport_to(server, api_key="sk-123456")
            with pytest.raises(InvalidRequestError, match=next(iter(params))) as caught:
                ask(transport, model=model, **params)
            assert server.count == 0
        assert "drop_params" not in str(caught.value)

    @pytest.mark.parametrize("switch", ["drop_params", "modify_params"])
    def test_silent_changes_are_refused(self, switch, monkeypatch):
        with LLMServer() as server:
            transport = transport_to(server)
            monkeypatch.setattr(litellm(), switch, True)
            with pytest.raises(InvalidOptionError, match=rf"litellm\.{switch} is on"):
                ask(transport)
            assert server.count == 0


class TestKeys:
    @pytest.fixture
    def no_sockets(self, monkeypatch):
        def refuse(*args, **kwargs):
            raise AssertionError("a socket was opened")

        ask_once_to_import_everything()
        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)

    @pytest.mark.parametrize(
        ("model", "variable"),
        [
            ("openai/gpt-5-mini", "OPENAI_API_KEY"), ("gpt-5-mini", "OPENAI_API_KEY"),
            ("anthropic/claude-sonnet-4-5", "ANTHROPIC_API_KEY"),
            ("gemini/gemini-2.5-flash", "GOOGLE_API_KEY or GEMINI_API_KEY"),
            ("mistral/mistral-large-latest", "MISTRAL_API_KEY"),
            ("openrouter/openai/gpt-4o", "OPENROUTER_API_KEY"),
        ],
    )  # fmt: skip
    def test_without_one_nothing_is_sent(self, model, variable, no_sockets):
        with pytest.raises(AuthenticationError, match=rf"no API key for {model}.* {variable}"):
            ask(LiteLLMTransport(), model=model)

    def test_a_server_of_ones_own_gets_a_placeholder(self, monkeypatch):
        for key in (None, ""):
            if key is not None:
                monkeypatch.setenv("OPENAI_API_KEY", key)
            with LLMServer() as server:
                ask(transport_to(server))
                assert server.headers[0]["authorization"] == "Bearer no-key-needed"


SCHEMA = {
    "title": "Next goal",
    "type": "object",
    "properties": {"goal": {"type": "string"}},
    "required": ["goal"],
}


class TestSchemas:
    def test_it_is_sent_in_the_strict_form(self):
        with LLMServer('{"goal": "drink"}') as server:
            ask(transport_to(server), schema=SCHEMA, send_schema=True)
            assert server.requests[0]["response_format"] == {
                "type": "json_schema",
                "json_schema": {
                    "name": "Next_goal",
                    "strict": True,
                    "schema": {**SCHEMA, "additionalProperties": False},
                },
            }

    @pytest.mark.parametrize(
        ("model", "supported"),
        [
            ("openai/gpt-5-mini", True), ("gpt-4o-mini", True), ("openai/gpt-3.5-turbo", False),
            (MODEL, False), ("nope/nope", False), ("", False),
        ],
    )  # fmt: skip
    def test_support(self, model, supported):
        assert LiteLLMTransport().supports_schema(model) is supported


class TestBrake:
    def test_nothing_is_sent(self, monkeypatch):
        with LLMServer() as server:
            transport = transport_to(server)
            ask(transport)

            def refuse(*args, **kwargs):
                raise AssertionError("a socket was made")

            monkeypatch.setattr(socket, "socket", refuse)
            with allow_requests(False):
                for call in (lambda: ask(transport), lambda: transport.worst_case(request())):
                    with pytest.raises(
                        RequestsNotAllowedError, match="Where is the water"
                    ) as caught:
                        call()
                    assert MODEL in str(caught.value)
            monkeypatch.undo()
            assert server.count == 1


def ask_once_to_import_everything():
    with LLMServer() as server:
        ask(transport_to(server))


class TestNeighbours:
    """What a request leaves behind in the process: nothing."""

    @pytest.fixture(autouse=True)
    def _imported(self):
        ask_once_to_import_everything()

    def test_many_threads_at_once(self):
        with LLMServer(lambda body: body["messages"][0]["content"], latency=0.1) as server:
            transport = transport_to(server)
            with ThreadPoolExecutor(16) as pool:
                prompts = [f"prompt {number}" for number in range(48)]
                answers = list(pool.map(lambda prompt: ask(transport, prompt).text, prompts))
            assert answers == prompts
            assert server.count == 48
            assert server.max_concurrent > 4

    def test_warnings_of_litellm_are_ignored_wherever_they_would_be_errors(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            litellm()
            assert warnings.filters[1][0] == "error"
            warnings.warn("Item 'x' is using the `ReadOnly` qualifier. So.", stacklevel=1)
            with pytest.raises(UserWarning, match="another"):
                warnings.warn("another", stacklevel=1)
            before = list(warnings.filters)
            litellm()
            assert warnings.filters == before


FRESH = """
import concurrent.futures, logging, multiprocessing, os, signal, socket, sys, threading
from llm_wrappers.llm.provider.connection import Connection
from llm_wrappers.llm.provider.litellm_transport import LiteLLMTransport
from llm_wrappers.llm.request import Request, as_messages

looked_up = set()
really_look_up = socket.getaddrinfo
def look_up(host, *args, **kwargs):
    looked_up.add(host)
    return really_look_up(host, *args, **kwargs)
socket.getaddrinfo = look_up

transport = LiteLLMTransport(Connection(api_base=sys.argv[1]))
def ask(text, model="openai/test"):
    request = Request(model=model, messages=as_messages(text))
    return transport.complete(request, send_schema=False).text

def ask_as_child(number, answers):
    answers.put([ask(f"{number} {turn}") for turn in range(5)])

environment = dict(os.environ)
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(sorted(pool.map(ask, "abcdefgh")))
ask("once", "hosted_vllm/test")
changes = set(os.environ.items()) ^ set(environment.items())
print("litellm" in sys.modules, looked_up, changes, os.listdir())
print([thread.name for thread in threading.enumerate()])

if hasattr(os, "fork"):
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    children = [fork.Process(target=ask_as_child, args=(n, answers)) for n in range(3)]
    for child in children:
        child.start()
    own = [ask(f"parent {turn}") for turn in range(15)]
    assert own == [f"parent {turn}".upper() for turn in range(15)], own
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0, 0, 0], children
    assert sorted(answers.get() for _ in children) == [
        [f"{number} {turn}".upper() for turn in range(5)] for number in range(3)
    ]
print("ready", flush=True)
try:
    ask("slow")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_a_fresh_process(tmp_path):
    """Imports litellm from many threads at once; forks; is interrupted. Without a stray trace."""

    def answer(body):
        text = body["messages"][0]["content"]
        if text == "slow":
            slow.wait(60)
        return text.upper()

    slow = threading.Event()
    (tmp_path / ".env").write_text("OPENAI_API_KEY=of-the-file\n")
    with LLMServer(answer) as server:
        process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "error", "-c", FRESH, server.api_base],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        with process:
            lines = [process.stdout.readline().strip()]
            while lines[-1] not in ("", "ready"):
                lines.append(process.stdout.readline().strip())
            time.sleep(0.5)
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=60)
            slow.set()
        assert lines == [
            str(sorted("ABCDEFGH")),
            "True {'127.0.0.1'} set() ['.env']",
            "['MainThread']",
            "ready",
        ], errors
        assert rest == "interrupted\n"
        assert time.monotonic() - started < 10
        assert process.returncode == 0
        assert errors == ""
        assert "of-the-file" not in str(server.headers)


@pytest.mark.parametrize(
    "prices",
    [1.0, (1.0,), (1.0, 2.0, 3.0), (-1.0, 1.0), ("a", "b"), (float("nan"), 1.0), (True, 1)],
)
def test_prices_that_cannot_be(prices):
    with pytest.raises(InvalidOptionError, match="expected prices as two numbers >= 0"):
        LiteLLMTransport(prices=prices)
