"""The whole way over real HTTP: client, litellm, a server on this machine, and what goes wrong."""

from __future__ import annotations

import io
import logging
import os
import pickle
import traceback

import pytest
from pydantic import BaseModel

from llm_wrappers.cli import main as command
from llm_wrappers.errors import (
    BatchError,
    BudgetExceededError,
    InvalidAnswerError,
    LLMWrappersError,
    RequestsNotAllowedError,
)
from llm_wrappers.llm import LLM, Budget, allow_requests, export_answers
from llm_wrappers.testing import Fault, LLMServer

CANARY = "sk-canary-8675309-do-not-show"


class Goals(BaseModel):
    goals: list[str]


@pytest.fixture(autouse=True)
def requests_allowed():
    with allow_requests(True):
        yield


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "answers.sqlite"


def client(server, **options):
    return LLM("openai/test", **{"api_base": server.api_base, "retries": 2, **options})


def test_asked_once_over_http_and_never_again(cache):
    with LLMServer(answer="north") as server:
        prompts = [f"{number % 3}" for number in range(12)]
        assert [a.text for a in client(server, cache=cache).ask_many(prompts)] == ["north"] * 12
        assert server.count == 3
        again = client(server, cache=cache)
        assert all(answer.cached for answer in again.ask_many(prompts))
        assert server.count == 3
        assert again.usage.total.calls == 0


def test_params_reach_the_model_and_usage_comes_back(cache):
    with LLMServer(answer="north") as server:
        llm = client(server, cache=cache, temperature=0.25, max_tokens=9, prices=(1.0, 2.0))
        completion = llm.ask("Where?", params={"logprobs": True}).completion
        body = server.requests[0]
    assert (body["temperature"], body["max_tokens"], body["logprobs"]) == (0.25, 9, True)
    assert completion.logprobs
    assert completion.prompt_tokens > 0
    expected = (completion.prompt_tokens * 1.0 + completion.completion_tokens * 2.0) / 1e6
    assert llm.usage.total.dollars == pytest.approx(expected)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.rate_limit(retry_after=0.05), Fault.error(500), Fault.error(503), Fault.cut(),
        Fault.malformed(), Fault.empty_choices(),
    ],
    ids=["429", "500", "503", "cut", "malformed", "empty"],
)  # fmt: skip
def test_what_passes_by_itself_is_tried_again(fault, cache):
    with LLMServer(answer="north", faults=[fault]) as server:
        llm = client(server, cache=cache)
        assert llm.ask("Where?").text == "north"
        assert server.count == llm.usage.total.calls == 2


def test_a_wrong_schema_is_repaired_over_http(cache):
    faults = [Fault.wrong_schema('{"goal": "eat"}')]
    with LLMServer(answer='{"goals": ["eat"]}', faults=faults) as server:
        answer = client(server, cache=cache).ask("What now?", schema=Goals)
        assert answer.parsed == Goals(goals=["eat"])
        assert answer.completion.repairs == 1
        assert [message["role"] for message in server.requests[1]["messages"]][-2:] == [
            "assistant",
            "user",
        ]
    with LLMServer(answer="I would rather not.") as server, pytest.raises(InvalidAnswerError):
        client(server, cache=cache, repairs=1).ask("And now?", schema=Goals)


@pytest.mark.parametrize("schemas", [None, True])
def test_a_server_of_ones_own_is_handed_the_schema_where_it_takes_schemas(schemas, cache):
    with LLMServer(answer='{"goals": ["eat"]}') as server:
        llm = client(server, cache=cache, schemas=schemas)
        assert llm.ask("What now?", schema=Goals).parsed == Goals(goals=["eat"])
        (body,) = server.requests
    handed = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    assert ("goals" in handed.get("properties", {})) == bool(schemas)
    # Otherwise it stands in the question.
    assert len(body["messages"]) == (1 if schemas else 2)


def test_a_budget_is_exact_over_http(cache):
    with LLMServer(answer="x", latency=0.01) as server:
        llm = client(server, cache=cache, budget=Budget(calls=7), concurrency=16)
        with pytest.raises(BudgetExceededError, match="calls"):
            llm.ask_many([str(number) for number in range(30)])
        assert server.count == 7
        with pytest.raises(BudgetExceededError, match="allows 0 calls"):
            client(server, cache=cache, budget=Budget(calls=0)).ask("Where?")
        assert server.count == 7


def test_retries_are_paid_from_the_budget():
    with LLMServer(faults=[Fault.error(500)] * 9) as server:
        llm = client(server, budget=Budget(calls=2), retries=5)
        with pytest.raises(BudgetExceededError):
            llm.ask("Where?")
        assert server.count == 2


def test_with_the_brake_on_nothing_is_sent(cache):
    with LLMServer(answer="north") as server:
        llm = client(server, cache=cache)
        llm.ask("Where?")
        with allow_requests(False):
            assert llm.ask("Where?").cached
            with pytest.raises(RequestsNotAllowedError):
                llm.ask("Whither?")
            with pytest.raises(RequestsNotAllowedError):
                llm.ask_many(["a", "b"], on_error="none")
        assert server.count == 1


@pytest.mark.parametrize("given", ["argument", "environment", "named variable", "header"])
def test_a_key_is_never_seen_again(given, cache, tmp_path, monkeypatch, capsys):
    options = {
        "argument": {"api_key": CANARY},
        "environment": {},
        "named variable": {"api_key_env": "MY_OWN_KEY"},
        "header": {"api_key": "none-needed", "extra_headers": {"X-Api-Key": CANARY}},
    }[given]
    if given == "environment":
        monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("MY_OWN_KEY", CANARY)
    logged = io.StringIO()
    handler = logging.StreamHandler(logged)
    root = logging.getLogger()
    root.addHandler(handler)
    monkeypatch.setattr(root, "level", logging.DEBUG)
    unauthorized = Fault.error(401, message=f"wrong key {CANARY}")
    faults = [None, Fault.error(400, message=f"bad {CANARY}"), unauthorized]
    seen = []
    try:
        with LLMServer(answer='{"goals": []}', faults=faults) as server:
            llm = client(server, cache=cache, **options)
            llm.ask("Where?", schema=Goals)
            sent = str(server.headers[0])
            for prompt in ("a", "b"):
                with pytest.raises(LLMWrappersError) as caught:
                    llm.ask(prompt)
                seen.append("".join(traceback.format_exception(caught.value)))
                seen.append(repr(vars(caught.value)))
            with pytest.raises((BatchError, LLMWrappersError)):
                llm.ask_many(["a", "b"], on_error="raise")
    finally:
        root.removeHandler(handler)
    assert CANARY in sent, "the key has to reach the provider"
    export_answers(llm.store, tmp_path / "answers.jsonl")
    assert command(["cache", "show", str(cache)]) == 0
    llm.close()
    seen += [
        logged.getvalue(),
        repr(llm),
        str(vars(llm)),
        pickle.dumps(llm).decode("latin-1"),
        capsys.readouterr().out,
        *(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir()),
    ]
    for text in seen:
        assert CANARY not in text
    assert os.path.getsize(tmp_path / "answers.jsonl") > 0
