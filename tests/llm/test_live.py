"""What a user of `LiveSource` notices: answers, misses, timing, failures, copies."""

import pickle
import threading
import warnings
from dataclasses import dataclass

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from llm_wrappers.errors import (
    AuthenticationError,
    BatchError,
    BudgetExceededError,
    CacheMissError,
    GuidanceWarning,
    InvalidOptionError,
    InvalidRequestError,
    PromptTooLongError,
    ProviderError,
    UnknownModelError,
)
from llm_wrappers.llm import Budget, LiveSource
from llm_wrappers.testing import ScriptedLLM

examples = settings(deadline=None, max_examples=60)
TEXTS = st.text(max_size=3) | st.sampled_from(["tree", "water", "cow"])


class Goals(BaseModel):
    goals: list[str]


class WatchedLLM(ScriptedLLM):
    """Also remembers what was looked up in its cache."""

    def look_up(self, prompts, **options):
        vars(self).setdefault("looked_up", []).append(list(prompts))
        return super().look_up(prompts, **options)


class Clock:
    """Stands in for the time module where a source reads the time."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("llm_wrappers.llm.live.source.time", clock)
    return clock


def shout(request):
    return request.messages[-1]["content"].upper()


def make_source(llm=None, **options):
    llm = WatchedLLM(shout) if llm is None else llm
    return LiveSource(llm, **{"prompt": str, "purpose": "goals", "on_miss": "block", **options})


def asked(source):
    return [request.messages[-1]["content"] for request in source.llm.requests]


def failing_for(*texts, error):
    """Return a script that fails for these prompts, as often as they are asked."""

    def answer(request):
        text = request.messages[-1]["content"]
        if text in texts:
            raise error
        return text.upper()

    return answer


def quietly(source, texts):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuidanceWarning)
        return source.answers(texts)


class TestAnswers:
    @given(
        st.lists(TEXTS, max_size=6).flatmap(
            lambda first: st.lists(st.permutations(first), min_size=1, max_size=4)
        )
    )
    @examples
    def test_one_per_sub_environment_in_order_and_each_text_is_asked_once(self, batches):
        source = make_source()
        for batch in batches:
            assert source.answers(batch) == [text.upper() for text in batch]
        assert sorted(asked(source)) == sorted(set(batches[0]))

    @given(
        st.integers(1, 4).flatmap(
            lambda n: st.lists(st.lists(TEXTS, min_size=n, max_size=n), max_size=8)
        ),
        st.integers(1, 3),
        st.sampled_from(["neutral", "block"]),
    )
    @examples
    def test_counters_add_up_whatever_happens(self, batches, memo_size, on_miss):
        source = make_source(memo_size=memo_size, on_miss=on_miss)
        source.llm.ask_many(["tree", "water"])
        answers = [answer for batch in batches for answer in source.answers(batch)]
        stats = source.stats()
        assert stats["steps"] == len(batches)
        assert stats["texts"] == len(answers)
        assert stats["neutral"] == answers.count(None)
        assert stats["asked"] == stats["answered"] == len(source.llm.requests) - 2
        now = len(answers) - stats["memo_hits"] - stats["cache_hits"] - stats["neutral"]
        assert (now >= stats["answered"]) if on_miss == "block" else now == 0
        assert len(source._memo) <= memo_size
        share = 1 - answers.count(None) / len(answers) if answers else 0.0
        assert stats["share_answered"] == pytest.approx(share)
        assert all(type(number) in (int, float) for number in stats.values())

    def test_with_a_schema_it_is_the_parsed_object(self):
        llm = ScriptedLLM([Goals(goals=["eat"])])
        assert make_source(llm, schema=Goals).answers(["cow"]) == [Goals(goals=["eat"])]

    def test_the_question_is_what_the_options_say(self):
        source = make_source(
            prompt=lambda text: [{"role": "user", "content": f"You see {text}. What now?"}],
            purpose="judge",
            prompt_version="7",
        )
        assert source.answers(["a cow"]) == ["YOU SEE A COW. WHAT NOW?"]
        assert source.llm.requests[0].prompt_version == "7"
        assert source.llm.usage["judge"].calls == 1

    def test_memory_comes_before_the_cache_and_the_cache_before_the_model(self):
        source = make_source()
        source.llm.ask("tree", purpose="goals")
        assert source.answers(["tree", "cow"]) == ["TREE", "COW"]
        assert source.answers(["cow", "tree"]) == ["COW", "TREE"]
        assert source.llm.looked_up == [["tree", "cow"]]
        assert asked(source) == ["tree", "cow"]
        stats = source.stats()
        assert (stats["memo_hits"], stats["cache_hits"], stats["answered"]) == (2, 1, 1)


class TestNeutral:
    def test_nothing_is_asked_and_what_was_missed_is_remembered_once_in_order(self):
        source = make_source(on_miss="neutral")
        for batch in (["cow", "tree"], ["tree", "water"], ["cow", "cow"]):
            assert source.answers(batch) == [None, None]
        assert asked(source) == []
        assert source.missed == ("tree", "water", "cow")
        assert source.stats()["share_answered"] == 0

    def test_missed_texts_are_asked_later_and_then_known(self):
        source = make_source(on_miss="neutral")
        source.answers(["cow", "tree"])
        assert source.ask_missed() == 2
        assert sorted(asked(source)) == ["cow", "tree"]
        assert source.missed == ()
        assert source.answers(["tree", "cow"]) == ["TREE", "COW"]
        assert source.stats()["asked"] == source.stats()["answered"] == 2

    def test_the_oldest_missed_text_goes_first(self):
        source = make_source(on_miss="neutral", max_missed=2)
        source.answers(["a", "b", "c"])
        assert source.missed == ("b", "c")

    def test_a_failed_prompt_is_named_and_the_others_are_kept(self):
        llm = ScriptedLLM(failing_for("cow", error=ProviderError("overloaded")))
        source = make_source(llm, on_miss="neutral")
        source.answers(["cow", "tree"])
        with pytest.raises(BatchError, match=r"1 of 2 missed texts.*overloaded") as caught:
            source.ask_missed()
        assert caught.value.answers == [None, "TREE"]
        assert isinstance(caught.value.errors[0], ProviderError)
        assert source.missed == ("cow",)
        assert source.answers(["cow", "tree"]) == [None, "TREE"]


class TestRecheck:
    def test_what_the_cache_lacked_is_looked_up_again_only_after_a_while(self, clock):
        source = make_source(on_miss="neutral", recheck_seconds=5)
        for _ in range(3):
            source.answers(["cow"])
        assert source.llm.looked_up == [["cow"]]
        source.llm.ask("cow")
        clock.now += 4.9
        assert source.answers(["cow"]) == [None]
        clock.now += 0.2
        assert source.answers(["cow"]) == ["COW"]
        assert source.llm.looked_up == [["cow"], ["cow"]]


class TestFailures:
    def test_a_failure_is_neutral_counted_and_said_once(self):
        llm = ScriptedLLM(failing_for("cow", "pig", error=ProviderError("overloaded")))
        source = make_source(llm)
        with pytest.warns(GuidanceWarning, match="'goals'.*ProviderError: overloaded") as said:
            assert source.answers(["cow", "tree"]) == [None, "TREE"]
        assert len(said) == 1
        assert source.answers(["pig", "tree"]) == [None, "TREE"]
        stats = source.stats()
        assert (stats["failures"], stats["failures_provider"], stats["neutral"]) == (2, 2, 2)
        assert (stats["asked"], stats["answered"]) == (3, 1)

    def test_a_failed_text_is_asked_again_only_after_a_while(self, clock):
        llm = ScriptedLLM(failing_for("cow", error=ProviderError("overloaded")))
        source = make_source(llm, retry_failed_after=30)
        for seconds in (0, 29, 2, 1):
            clock.now += seconds
            quietly(source, ["cow"])
        assert asked(source) == ["cow", "cow"]

    def test_what_another_process_answered_meanwhile_is_used(self, clock):
        llm = ScriptedLLM(iter([ProviderError("overloaded"), "MOO"]))
        source = make_source(llm, recheck_seconds=1, retry_failed_after=1000)
        quietly(source, ["cow"])
        llm.ask("cow")
        clock.now += 2
        assert source.answers(["cow"]) == ["MOO"]

    @pytest.mark.parametrize("cached", [False, True])
    def test_an_answer_that_parse_refuses_is_not_parsed_again_at_once(self, cached, clock):
        calls = []

        def parse(answer):
            calls.append(answer.text)
            raise ValueError("no goal in it")

        source = make_source(parse=parse, retry_failed_after=30, recheck_seconds=1)
        if cached:
            source.llm.ask("cow")
        with pytest.warns(GuidanceWarning, match="ValueError in parse: no goal in it"):
            assert source.answers(["cow"]) == [None]
        clock.now += 20
        assert source.answers(["cow"]) == [None]
        assert (calls, source.stats()["failures_parse"]) == (["COW"], 1)
        clock.now += 20
        assert source.answers(["cow"]) == [None]
        assert (len(calls), len(asked(source))) == (2, 1)

    def test_the_text_of_a_foreign_exception_is_not_shown(self):
        llm = ScriptedLLM(failing_for("cow", error=RuntimeError("Bearer sk-canary")))
        source = make_source(llm)
        with pytest.warns(GuidanceWarning, match="RuntimeError while asking") as said:
            assert source.answers(["cow"]) == [None]
        assert "sk-canary" not in str(said[0].message)
        assert source.stats()["failures_other"] == 1

    @pytest.mark.parametrize(
        "error",
        [AuthenticationError("no key"), UnknownModelError("?"), InvalidRequestError("?")],
        ids=lambda error: type(error).__name__,
    )
    def test_what_the_user_got_wrong_raises_at_the_first_ask(self, error):
        replies = iter([error, error, "MOO"])

        def script(request):
            reply = next(replies)
            if isinstance(reply, Exception):
                raise reply
            return reply

        source = make_source(ScriptedLLM(script, remember_failures=0))
        for _ in range(2):
            with pytest.raises(type(error)):
                source.answers(["cow"])
        assert source.answers(["cow"]) == ["MOO"]
        assert (source.stats()["steps"], source.stats()["failures"]) == (1, 0)

    @pytest.mark.parametrize(
        "error",
        [AuthenticationError("revoked"), PromptTooLongError("too long")],
        ids=lambda error: type(error).__name__,
    )
    def test_but_does_not_stop_a_run_once_an_answer_came(self, error):
        source = make_source(ScriptedLLM(failing_for("cow", error=error)))
        source.answers(["tree"])
        with pytest.warns(GuidanceWarning, match=f"{type(error).__name__}: {error}"):
            assert source.answers(["cow"]) == [None]
        assert source.stats()["failures_user"] == 1

    def test_and_is_counted_later(self):
        source = make_source(prompt=lambda text: {"tree": "tree?"}[text])
        source.answers(["tree"])
        with pytest.warns(GuidanceWarning, match="KeyError in prompt: 'cow'"):
            assert source.answers(["cow"]) == [None]
        assert source.stats()["failures_prompt"] == 1


class TestBudget:
    def test_when_it_is_spent_nothing_more_is_asked_and_all_is_remembered(self):
        source = make_source(ScriptedLLM(shout, budget=Budget(calls=1)))
        assert source.answers(["tree"]) == ["TREE"]
        with pytest.warns(GuidanceWarning, match="raise the budget and call ask_missed") as said:
            assert source.answers(["cow"]) == [None]
        assert len(said) == 1
        assert source.answers(["pig"]) == [None]
        assert source.answers(["tree"]) == ["TREE"]
        assert asked(source) == ["tree"]
        assert source.missed == ("cow", "pig")
        assert source.stats()["asked"] == 2
        assert source.stats()["failures_budget"] == 1

    def test_asking_for_the_missed_ones_raises_until_there_is_money(self):
        class Purse(ScriptedLLM):
            empty = True

            def ask_many(self, prompts, **options):
                if self.empty:
                    raise BudgetExceededError("spent")
                return super().ask_many(prompts, **options)

        source = make_source(Purse(shout))
        quietly(source, ["cow"])
        with pytest.raises(BudgetExceededError, match="spent"):
            source.ask_missed()
        source.answers(["pig"])
        source.llm.empty = False
        assert source.ask_missed() == 2
        assert source.answers(["dog"]) == ["DOG"]


class TestReplay:
    def recording(self, tmp_path, *texts):
        with ScriptedLLM(shout, cache=tmp_path / "answers.sqlite") as llm:
            llm.ask_many(texts)
        return ScriptedLLM(
            failing_for(error=AssertionError), cache=tmp_path / "answers.sqlite", mode="replay"
        )

    @pytest.mark.parametrize("on_miss", ["neutral", "block", "background"])
    def test_what_was_recorded_is_there_at_once(self, tmp_path, on_miss):
        source = make_source(self.recording(tmp_path, "cow", "tree"), on_miss=on_miss)
        assert source.answers(["tree", "cow"]) == ["TREE", "COW"]
        assert asked(source) == []

    def test_what_is_missing_ends_a_run_that_waits_for_answers(self, tmp_path):
        source = make_source(self.recording(tmp_path, "cow"))
        source.answers(["cow"])
        for _ in range(2):
            with pytest.raises(CacheMissError, match="tree"):
                source.answers(["tree"])


class TestCopies:
    @pytest.mark.parametrize("library", [pickle, cloudpickle], ids=lambda module: module.__name__)
    def test_elsewhere_options_misses_and_the_client_travel_and_memory_does_not(self, library):
        source = make_source(on_miss="neutral", max_missed=2)
        source.answers(["cow", "tree"])
        source.ask_missed()
        source.answers(["pig", "dog"])
        twin = library.loads(library.dumps(source))
        assert twin.missed == ("pig", "dog")
        assert {**twin.stats(), "missed": 0} == {**make_source().stats(), "missed": 0}
        assert twin.answers(["a", "b", "c"]) == [None] * 3
        assert twin.missed == ("b", "c")
        assert twin.ask_missed() == 2


def test_nothing_is_opened_or_started_before_the_first_need(tmp_path):
    threads = threading.active_count()
    path = tmp_path / "answers.sqlite"
    source = make_source(ScriptedLLM(shout, cache=path), on_miss="background")
    twin = pickle.loads(pickle.dumps(source))
    for each in (source, twin):
        each.stats()
        assert (each.missed, each.ask_missed()) == ((), 0)
        each.close()
    assert not path.exists()
    with ScriptedLLM(shout, cache=path) as other:
        other.ask("cow")
    assert source.answers(["cow"]) == ["COW"]
    assert threading.active_count() == threads
    source.llm.close()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"on_miss": "ask"}, "on_miss must be one of"),
        ({"prompt": "What now?"}, "prompt as a function"),
        ({"parse": "json"}, "parse as a function"),
        ({"memo_size": 0}, "memo_size must be a whole number >= 1"),
        ({"memo_size": True}, "memo_size"), ({"max_missed": -1}, "max_missed"),
        ({"max_pending": 1.5}, "max_pending"),
        ({"recheck_seconds": -1}, "recheck_seconds must be a finite number >= 0"),
        ({"recheck_seconds": float("nan")}, "recheck_seconds"),
        ({"retry_failed_after": "soon"}, "retry_failed_after"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_options_that_cannot_work_are_refused(option, message):
    with pytest.raises(InvalidOptionError, match=message):
        make_source(**option)


def test_a_model_name_is_no_client():
    with pytest.raises(InvalidOptionError, match=r"LLM\('openai/gpt-5-mini'\), got 'openai/gpt-5'"):
        LiveSource("openai/gpt-5", prompt=str, purpose="goals")


def test_a_single_text_is_no_list_of_texts():
    with pytest.raises(InvalidOptionError, match=r"got 'cow'; pass \[question\]"):
        make_source().answers("cow")


def test_what_cannot_be_hashed_is_no_question():
    with pytest.raises(InvalidOptionError, match="expected questions that can be hashed"):
        make_source().answers(["cow", ["tree"]])


def test_a_question_is_whatever_the_prompt_is_made_from():
    @dataclass(frozen=True)
    class Seen:
        caption: str
        action: str

    source = make_source(prompt=lambda seen: f"{seen.caption}: {seen.action}?")
    assert source.answers([Seen("cow", "eat"), Seen("cow", "eat")]) == ["COW: EAT?"] * 2
    assert asked(source) == ["cow: eat?"]
    missing = make_source(on_miss="neutral", prompt=lambda seen: seen.caption)
    missing.answers([Seen("cow", "eat")])
    assert missing.missed == (Seen("cow", "eat"),)
