"""What a user of `LLM` notices: one question at a time."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import pytest
from pydantic import BaseModel, Field

from llm_wrappers.errors import (
    BudgetExceededError,
    InvalidAnswerError,
    InvalidOptionError,
    InvalidRequestError,
    PromptTooLongError,
    ProviderError,
)
from llm_wrappers.llm import LLM, Budget, Completion, Cost
from llm_wrappers.testing import ScriptedLLM


class Goals(BaseModel):
    goals: list[str] = Field(max_length=2)


def test_the_answer_is_text_with_what_it_cost():
    llm = ScriptedLLM([Completion(text="north", prompt_tokens=7, completion_tokens=2, dollars=0.5)])
    answer = llm.ask("Where is water?", purpose="judge")
    assert (answer.text, answer.cached, answer.parsed) == ("north", False, None)
    assert answer.completion.tokens == 9
    assert llm.usage["judge"].calls == 1
    assert llm.usage["judge"].dollars == 0.5
    assert llm.usage.total.prompt_tokens == 7


def test_a_question_is_asked_once_and_hits_are_counted():
    llm = ScriptedLLM(["north"])
    assert [llm.ask("Where?").cached for _ in range(3)] == [False, True, True]
    assert len(llm.requests) == 1
    assert llm.usage.total.cache_hits == 2
    assert llm.usage.total.calls == 1


@pytest.mark.parametrize(
    "other",
    [
        {"sample": 1}, {"prompt_version": "2"}, {"params": {"temperature": 1}},
        {"schema": Goals},
    ],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_whatever_changes_the_answer_makes_another_question(other):
    llm = ScriptedLLM(lambda request: '{"goals": ["eat"]}')
    first = llm.ask("What now?")
    second = llm.ask("What now?", **other)
    assert first.key != second.key
    assert not second.cached
    assert len(llm.requests) == 2


@pytest.mark.parametrize(
    "prompt", [3, None, [], ["text"], [{"content": "no role"}], {"role": "user"}]
)
def test_what_is_no_prompt_is_refused(prompt):
    with pytest.raises(InvalidOptionError, match="expected a prompt"):
        ScriptedLLM([]).ask(prompt)


def test_a_structured_answer_is_parsed_and_comes_parsed_from_the_cache():
    llm = ScriptedLLM(['Sure!\n```json\n{"goals": ["eat", "sleep"]}\n```'])
    for cached in (False, True):
        answer = llm.ask("What now?", schema=Goals)
        assert answer.parsed == Goals(goals=["eat", "sleep"])
        assert answer.cached is cached


def test_the_schema_is_explained_in_the_prompt_only_where_it_cannot_be_sent():
    with_schema = ScriptedLLM(['{"goals": []}'], schemas=True)
    without = ScriptedLLM(['{"goals": []}'], schemas=False)
    keys = {llm.ask("What now?", schema=Goals).key for llm in (with_schema, without)}
    assert len(keys) == 1
    assert len(with_schema.requests[0].messages) == 1
    assert '"goals"' in without.requests[0].messages[-1]["content"]


def test_a_wrong_answer_is_sent_back_with_what_is_wrong():
    llm = ScriptedLLM(['{"goals": ["a", "b", "c"]}', "no idea", '{"goals": ["a"]}'], repairs=2)
    answer = llm.ask("What now?", schema=Goals)
    assert answer.parsed == Goals(goals=["a"])
    assert answer.completion.repairs == 2
    second = llm.requests[1].messages
    assert second[1] == {"role": "assistant", "content": '{"goals": ["a", "b", "c"]}'}
    assert "goals" in second[2]["content"]
    assert llm.usage.total.calls == 3
    assert answer.completion.tokens == llm.usage.total.tokens


@pytest.mark.parametrize("repairs", [0, 1, 3])
def test_after_the_last_repair_the_error_says_so_and_is_remembered(repairs):
    llm = ScriptedLLM(lambda request: "no idea", repairs=repairs)
    with pytest.raises(InvalidAnswerError) as caught:
        llm.ask("What now?", schema=Goals)
    assert caught.value.text == "no idea"
    assert len(llm.requests) == repairs + 1
    with pytest.raises(InvalidAnswerError, match="not asked again"):
        llm.ask("What now?", schema=Goals)
    assert len(llm.requests) == repairs + 1
    assert llm.usage.total.failures == 1


@pytest.mark.parametrize(
    ("error", "remembered"),
    [
        (InvalidRequestError("no"), True), (PromptTooLongError("long"), True),
        (ProviderError("down", status=503), False), (BudgetExceededError("spent"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)  # fmt: skip
def test_only_hopeless_questions_are_remembered(error, remembered):
    llm = ScriptedLLM([error, "north"])
    with pytest.raises(type(error)):
        llm.ask("Where?")
    if remembered:
        with pytest.raises(type(error), match="not asked again"):
            llm.ask("Where?")
        assert len(llm.requests) == 1
    else:
        assert llm.ask("Where?").text == "north"


def test_an_answer_cut_off_at_max_tokens_says_so():
    llm = ScriptedLLM(
        [
            Completion(text="", finish_reason="length"),
            Completion(text='{"go', finish_reason="length"),
        ],
        repairs=0,
    )
    with pytest.raises(InvalidAnswerError, match="max_tokens"):
        llm.ask("Think hard.")
    with pytest.raises(InvalidAnswerError, match="cut off at max_tokens"):
        llm.ask("What now?", schema=Goals)


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (ProviderError("cut", maybe_billed=True), 0.0),
        (ProviderError("down", maybe_billed=False), 1.0),
        (KeyboardInterrupt(), 0.0),
    ],
    ids=["maybe-billed", "not-billed", "interrupted"],
)
def test_a_request_that_may_have_been_billed_counts_at_its_worst(error, left):
    class Priced:
        def complete(self, request, *, send_schema):
            raise error

        def supports_schema(self, model):
            return False

        def worst_case(self, request):
            return Cost(10, 1.0)

    llm = LLM("priced", transport=Priced(), retries=0, budget=Budget(dollars=1.0))
    with pytest.raises(type(error)):
        llm.ask("Where?")
    assert 1.0 - llm.spent.dollars == left
    assert llm.spent.in_flight == 0


@pytest.mark.parametrize(
    "options",
    [
        {"model": ""}, {"model": 3}, {"mode": "write"}, {"mode": "replay"}, {"mode": "refresh"},
        {"budget": 5}, {"budget": Budget(calls=1, name="mine")}, {"concurrency": 0},
        {"concurrency": 1.5}, {"retries": -1}, {"repairs": True}, {"remember_failures": -1},
        {"timeout": 0}, {"prices": (1,)}, {"cache": 7}, {"max_entries": 0, "cache": "x.sqlite"},
        {"stream": True}, {"n": 3},
    ],
    ids=lambda options: next(iter(options)),
)  # fmt: skip
def test_wrong_options_are_refused_at_construction(options):
    with pytest.raises(InvalidOptionError) as caught:
        LLM(**{"model": "openai/gpt-5-mini", **options})
    # The message names what is wrong; "model" and "cache" appear where those are.
    assert next(iter(options)) in str(caught.value)


def test_a_pickled_client_shares_answers_and_budget(tmp_path):
    llm = ScriptedLLM(
        lambda_answer, cache=tmp_path / "answers.sqlite", budget=Budget(calls=2), temperature=0.5
    )
    llm.ask("a")
    other = pickle.loads(pickle.dumps(llm))
    assert other.ask("a").cached
    other.ask("b")
    with pytest.raises(BudgetExceededError):
        llm.ask("c")
    assert other.spent.calls == llm.spent.calls == 2
    assert other.params == {"temperature": 0.5}
    assert other.usage.total.calls == 1


def lambda_answer(request):
    return "x"


def test_replay_needs_no_extra_and_importing_is_light(tmp_path):
    cache = tmp_path / "answers.sqlite"
    ScriptedLLM(["north"], model="openai/gpt-5-mini", cache=cache).ask("Where?")
    program = (
        "import sys\n"
        "from llm_wrappers.llm import LLM\n"
        f"llm = LLM('openai/gpt-5-mini', cache={str(cache)!r}, mode='replay')\n"
        "assert llm.ask('Where?').text == 'north'\n"
        "heavy = {'litellm', 'openai', 'tqdm', 'redis', 'torch', 'httpx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ, timeout=60)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"purpose": ""}, "purpose"), ({"purpose": 3}, "purpose"), ({"sample": -1}, "sample"),
        ({"sample": "1"}, "sample"), ({"prompt_version": 3}, "prompt_version"),
        ({"params": 3}, "params"), ({"params": {"temperature": float("nan")}}, "temperature"),
        ({"schema": dict}, "schema"), ({"schema": "Goals"}, "schema"),
    ],
)  # fmt: skip
def test_wrong_options_of_a_question_are_refused_before_it_is_paid(options, says):
    llm = ScriptedLLM(lambda request: "x", budget=Budget(calls=1))
    for ask in (llm.ask, lambda prompt, **o: llm.ask_many([prompt], **o)):
        with pytest.raises(InvalidOptionError, match=says) as caught:
            ask("Where?", **options)
        assert "errors.pydantic.dev" not in str(caught.value)
    assert llm.requests == []
    assert llm.spent.calls == 0


@pytest.mark.parametrize(
    "prompt", ["half \ud800", [{"role": "user", "content": [{"text": "\udc00 half"}]}]]
)
def test_text_that_is_no_unicode_is_refused_and_says_what_to_do(prompt):
    llm = ScriptedLLM(lambda request: "x")
    with pytest.raises(InvalidOptionError, match="surrogate"):
        llm.ask(prompt)
    assert llm.requests == []


@pytest.mark.parametrize("prompt", ["", "nul \0 inside", "\U0001f600 \\ud800", "x" * 1_000_000])
def test_unusual_texts_are_asked_as_they_are(prompt, tmp_path):
    llm = ScriptedLLM(lambda request: request.messages[0]["content"], cache=tmp_path / "a.sqlite")
    assert llm.ask(prompt).text == prompt
    assert ScriptedLLM([], cache=tmp_path / "a.sqlite").ask(prompt).text == prompt


@pytest.mark.parametrize("limit", ["calls", "tokens", "dollars", "requests_per_minute"])
def test_a_limit_that_is_given_as_a_parameter_is_pointed_to_the_budget(limit):
    with pytest.raises(InvalidOptionError, match=f"Budget\\({limit}=5"):
        LLM("openai/gpt-5-mini", **{limit: 5})


def test_more_turns_are_not_paid_for_when_max_tokens_is_the_trouble():
    llm = ScriptedLLM([Completion(text="", finish_reason="length")] * 3, repairs=2)
    with pytest.raises(InvalidAnswerError, match="used up max_tokens"):
        llm.ask("What now?", schema=Goals)
    assert len(llm.requests) == 1


def test_a_repair_never_sends_an_empty_turn_or_half_a_character():
    llm = ScriptedLLM(["", '{"goals": "\ud800', '{"goals": []}'])
    assert llm.ask("What now?", schema=Goals).parsed == Goals(goals=[])
    contents = [message["content"] for message in llm.requests[-1].messages]
    assert all(content.strip() for content in contents)
    assert [message["role"] for message in llm.requests[1].messages] == ["user", "user"]
    "".join(contents).encode()
