"""What a user of `LiveSource` notices: answers, misses, timing, failures, copies."""

import copy
import pickle
import threading
import warnings
from dataclasses import dataclass

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, field_validator

from llm_wrappers.errors import (
    AuthenticationError,
    BatchError,
    BudgetExceededError,
    CacheError,
    CacheMissError,
    GuidanceWarning,
    InvalidOptionError,
    InvalidRequestError,
    PromptTooLongError,
    ProviderError,
    RequestsNotAllowedError,
    UnknownModelError,
)
from llm_wrappers.llm import LLM, Budget, LiveSource, allow_requests
from llm_wrappers.testing import ScriptedLLM

examples = settings(deadline=None, max_examples=60)
TEXTS = st.text(max_size=3) | st.sampled_from(["tree", "water", "cow"])


class Goals(BaseModel):
    goals: list[str]


def stricter_goals():
    """Return a schema with the same JSON schema as `Goals` that accepts less."""

    class Stricter(Goals):
        model_config = ConfigDict(title="Goals")

        @field_validator("goals")
        @classmethod
        def not_empty(cls, goals):
            if not goals:
                raise ValueError("expected at least one goal")
            return goals

    return Stricter


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

    def test_without_a_schema_an_answer_is_its_text(self):
        assert make_source().answers(["tree"]) == ["TREE"]

    def test_with_a_schema_it_is_the_parsed_object(self):
        llm = ScriptedLLM([Goals(goals=["eat"])])
        assert make_source(llm, schema=Goals).answers(["cow"]) == [Goals(goals=["eat"])]

    def test_or_what_parse_makes_of_it_once_per_text(self):
        seen = []

        def parse(answer):
            seen.append(answer.text)
            return len(answer.text)

        source = make_source(parse=parse)
        assert [source.answers(["cow", "tree", "cow"]) for _ in range(2)] == [[3, 4, 3]] * 2
        assert seen == ["COW", "TREE"]

    def test_parse_may_say_that_an_answer_says_nothing(self):
        source = make_source(parse=lambda answer: None)
        assert [source.answers(["cow"]) for _ in range(2)] == [[None]] * 2
        assert asked(source) == ["cow"]
        assert (source.stats()["neutral"], source.stats()["failures"]) == (0, 0)

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

    def test_what_the_memory_has_no_room_for_is_found_in_the_cache(self):
        source = make_source(memo_size=2)
        batch = ["tree", "cow", "water", "tree"]
        for _ in range(3):
            assert source.answers(batch) == ["TREE", "COW", "WATER", "TREE"]
        assert len(asked(source)) == 3
        assert source.stats()["cache_hits"] > 0

    def test_what_was_used_recently_stays_in_memory(self):
        source = make_source(memo_size=2)
        for text in ("tree", "cow", "tree", "water", "tree"):
            source.answers([text])
        assert source.llm.looked_up == [["tree"], ["cow"], ["water"]]


class TestNeutral:
    def test_nothing_is_asked_and_what_was_missed_is_remembered_once_in_order(self):
        source = make_source(on_miss="neutral")
        for batch in (["cow", "tree"], ["tree", "water"], ["cow", "cow"]):
            assert source.answers(batch) == [None, None]
        assert asked(source) == []
        assert source.missed == ("tree", "water", "cow")
        assert source.stats()["share_answered"] == 0

    def test_it_is_the_default(self):
        source = LiveSource(ScriptedLLM(shout), prompt=str, purpose="goals")
        assert source.answers(["cow"]) == [None]
        assert source.missed == ("cow",)

    def test_missed_texts_are_asked_later_and_then_known(self):
        source = make_source(on_miss="neutral")
        source.answers(["cow", "tree"])
        assert source.ask_missed() == 2
        assert sorted(asked(source)) == ["cow", "tree"]
        assert source.missed == ()
        assert source.answers(["tree", "cow"]) == ["TREE", "COW"]
        assert source.stats()["asked"] == source.stats()["answered"] == 2

    def test_with_a_bar_if_wanted(self, capsys):
        source = make_source(on_miss="neutral")
        source.answers(["cow", "tree"])
        source.ask_missed(progress_bar=True)
        assert "2/2" in capsys.readouterr().err

    def test_nothing_missed_is_nothing_asked(self):
        source = make_source(on_miss="neutral")
        assert source.ask_missed() == 0
        assert asked(source) == []

    def test_the_oldest_missed_text_goes_first(self):
        source = make_source(on_miss="neutral", max_missed=2)
        source.answers(["a", "b", "c"])
        assert source.missed == ("b", "c")

    def test_what_somebody_else_answered_is_no_longer_missed(self, clock):
        source = make_source(on_miss="neutral")
        source.answers(["cow"])
        source.llm.ask("cow", purpose="elsewhere")
        clock.now += 11
        assert source.answers(["cow"]) == ["COW"]
        assert source.missed == ()

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

    def test_so_is_an_answer_that_cannot_be_parsed(self):
        source = make_source(on_miss="neutral", parse=lambda answer: {"TREE": 1}[answer.text])
        source.answers(["cow", "tree"])
        with pytest.raises(BatchError, match="KeyError: 'COW'"):
            source.ask_missed()
        assert source.missed == ("cow",)
        assert source.answers(["cow", "tree"])[1] == 1

    @pytest.mark.parametrize(
        "error",
        [AuthenticationError("no key"), ProviderError("overloaded"), UnknownModelError("unknown")],
        ids=lambda error: type(error).__name__,
    )
    def test_a_single_failure_is_raised_as_it_is(self, error):
        source = make_source(ScriptedLLM(failing_for("cow", error=error)), on_miss="neutral")
        source.answers(["cow"])
        with pytest.raises(type(error), match=str(error)):
            source.ask_missed()
        assert source.missed == ("cow",)


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

    def test_at_once_after_an_answer_of_its_own(self):
        source = make_source(memo_size=1, recheck_seconds=float("inf"), on_miss="neutral")
        source.answers(["cow"])
        source.ask_missed()
        source.llm.ask("tree")
        assert source.answers(["tree"]) == ["TREE"]
        assert source.answers(["cow"]) == ["COW"]

    def test_zero_seconds_look_in_every_step(self):
        source = make_source(on_miss="neutral", recheck_seconds=0)
        for _ in range(3):
            source.answers(["cow"])
        assert len(source.llm.looked_up) == 3


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

    def test_an_answer_that_does_not_fit_its_schema(self):
        llm = ScriptedLLM(lambda request: "no JSON", repairs=0)
        source = make_source(llm, schema=Goals)
        with pytest.warns(GuidanceWarning, match="InvalidAnswerError"):
            assert source.answers(["cow"]) == [None]
        assert source.stats()["failures_invalid_answer"] == 1

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

    def test_parse_stops_nothing_whatever_it_raises(self):
        def parse(answer):
            raise InvalidOptionError("no goal in it")

        source = make_source(parse=parse)
        assert quietly(source, ["cow"]) == [None]
        assert source.stats()["failures_parse"] == 1

    def test_an_answer_in_the_cache_that_parse_refuses_is_no_missed_one(self):
        source = make_source(on_miss="neutral", parse=lambda answer: int(answer.text))
        source.llm.ask("cow")
        quietly(source, ["cow"])
        assert source.missed == ()

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

    def test_one_refused_prompt_in_a_first_batch_that_is_else_answered_stops_nothing(self):
        llm = ScriptedLLM(failing_for("cow", error=PromptTooLongError("too long")))
        source = make_source(llm)
        assert quietly(source, ["cow", "tree"]) == [None, "TREE"]

    def test_the_brake_raises_where_something_would_be_asked(self, tmp_path):
        path, model = tmp_path / "answers.sqlite", "openai/gpt-5-mini"
        with ScriptedLLM(shout, model=model, cache=path) as recorder:
            recorder.ask("tree")
        with allow_requests(False), LLM(model, cache=path, api_key="none") as llm:
            source = make_source(llm)
            assert source.answers(["tree"]) == ["TREE"]
            with pytest.raises(RequestsNotAllowedError):
                source.answers(["cow"])

    def test_a_cache_that_cannot_be_used_raises_at_the_first_look(self, tmp_path):
        (tmp_path / "cache.sqlite").mkdir()
        source = make_source(ScriptedLLM(shout, cache=tmp_path / "cache.sqlite"), on_miss="neutral")
        with pytest.raises(CacheError):
            source.answers(["cow"])

    def test_but_stops_nothing_if_it_breaks_later(self):
        class BreakingLLM(ScriptedLLM):
            def look_up(self, prompts, **options):
                if self.requests:
                    raise CacheError("the disk is gone")
                return super().look_up(prompts, **options)

        source = make_source(BreakingLLM(shout))
        source.answers(["tree"])
        with pytest.warns(GuidanceWarning, match="CacheError: the disk is gone"):
            assert source.answers(["cow"]) == [None]
        assert source.answers(["tree"]) == ["TREE"]

    def test_a_prompt_that_fails_at_the_first_text_raises(self):
        source = make_source(prompt=lambda text: {"tree": "tree?"}[text])
        with pytest.raises(KeyError, match="cow"):
            source.answers(["cow"])

    def test_and_is_counted_later(self):
        source = make_source(prompt=lambda text: {"tree": "tree?"}[text])
        source.answers(["tree"])
        with pytest.warns(GuidanceWarning, match="KeyError in prompt: 'cow'"):
            assert source.answers(["cow"]) == [None]
        assert source.stats()["failures_prompt"] == 1

    def test_ctrl_c_is_no_failure(self):
        class Interrupted(ScriptedLLM):
            def ask_many(self, prompts, **options):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_source(Interrupted(shout)).answers(["cow"])


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

    def test_what_a_batch_could_still_pay_for_is_kept(self):
        source = make_source(ScriptedLLM(shout, budget=Budget(calls=1), concurrency=1))
        with pytest.warns(GuidanceWarning, match="raise the budget"):
            assert source.answers(["tree", "cow", "pig"]) == ["TREE", None, None]
        assert source.missed == ("cow", "pig")

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

    def test_and_is_a_miss_for_one_that_does_not(self, tmp_path):
        source = make_source(self.recording(tmp_path, "cow"), on_miss="neutral")
        assert source.answers(["tree"]) == [None]
        assert source.missed == ("tree",)

    def test_one_recorded_answer_that_no_longer_fits_hides_no_other(self, tmp_path):
        path = tmp_path / "answers.sqlite"
        recorded = {"cow": Goals(goals=[]), "tree": Goals(goals=["eat"])}
        with ScriptedLLM(recorded, cache=path) as llm:
            llm.ask_many(["cow", "tree"], schema=Goals)
        stricter = stricter_goals()
        replay = ScriptedLLM([], cache=path, mode="replay")
        source = make_source(replay, schema=stricter, on_miss="neutral")
        with pytest.warns(GuidanceWarning, match=r"(?s)InvalidAnswerError: .*at least one goal"):
            assert source.answers(["cow", "tree"]) == [None, stricter(goals=["eat"])]
        assert source.stats()["failures_invalid_answer"] == 1


class TestCopies:
    def test_in_one_process_there_are_none(self):
        source = make_source()
        assert copy.deepcopy(source) is source
        assert copy.copy(source) is source
        assert copy.deepcopy({"source": [source]})["source"][0] is source

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

    def test_functions_without_a_name_travel_by_cloudpickle(self):
        source = make_source(prompt=lambda text: f"{text}?", parse=lambda answer: len(answer.text))
        twin = cloudpickle.loads(cloudpickle.dumps(source))
        assert twin.answers(["cow"]) == [4]

    def test_each_process_warns_for_itself(self):
        source = make_source(ScriptedLLM(failing_for("cow", error=ProviderError("overloaded"))))
        quietly(source, ["cow"])
        twin = cloudpickle.loads(cloudpickle.dumps(source))
        with pytest.warns(GuidanceWarning, match="overloaded"):
            twin.answers(["cow"])


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
        ({"memo_size": True}, "memo_size"),
        ({"max_missed": -1}, "max_missed"),
        ({"max_pending": 1.5}, "max_pending"),
        ({"recheck_seconds": -1}, "recheck_seconds must be a finite number >= 0"),
        ({"recheck_seconds": float("nan")}, "recheck_seconds"),
        ({"retry_failed_after": "soon"}, "retry_failed_after"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
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
