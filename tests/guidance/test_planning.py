"""Asking a planner: remembered where it may be, checked always, never fatal."""

import warnings

import numpy as np
import pytest

from llm_wrappers import Goal
from llm_wrappers.captions.facts_table import FactColumns, FactsTable
from llm_wrappers.errors import GuidanceWarning, InvalidOptionError
from llm_wrappers.guidance import FunctionPlanner, Planner, planning, resolve_planner
from llm_wrappers.guidance.ablations import NoPlanner
from llm_wrappers.guidance.plan import Plan
from llm_wrappers.guidance.planning import Planning, checked_vocabulary

GOALS = ("collect wood", "eat cow", "wake up")
COLUMNS = (FactColumns("wood", tuple(range(10))), FactColumns("dark", (False, True)))


class Recorder:
    """A planner that keeps what it was asked; `wood` chooses the goal."""

    def __init__(self, answer=None, **attributes):
        self.asked = []
        self.answer = answer or (lambda row: [(GOALS[row["wood"] % 3], 1.0)])
        vars(self).update(attributes)

    def plan(self, facts):
        self.asked.append([dict(row) for row in facts])
        return [self.answer(row) for row in facts]


def rows(*woods, dark=False):
    return [{"wood": wood, "dark": dark} for wood in woods]


def table(*woods, dark=False):
    return FactsTable(COLUMNS, np.array([[wood, dark] for wood in woods], np.int8).reshape(-1, 2))


def as_planner(planner):
    return resolve_planner(planner, env_id="", goals=GOALS)


def make(planner, *, fallback="wake up"):
    return Planning(planner, goals=GOALS, fallback=fallback)


def chosen(plans):
    return [plan.goals for plan in plans]


@pytest.fixture(params=[rows, table], ids=["dicts", "table"])
def states(request):
    return request.param


class TestMemory:
    def test_a_pure_planner_is_asked_once_per_distinct_state_and_in_one_batch(self, states):
        recorder = Recorder(pure=True)
        asked = make(recorder)
        assert chosen(asked.plans(states(1, 2, 1))) == [(1,), (2,), (1,)]
        assert chosen(asked.plans(states(2, 3, 1))) == [(2,), (0,), (1,)]
        assert chosen(asked.plans(states(3, 3))) == [(0,), (0,)]
        assert recorder.asked == [rows(1, 2), rows(3)]
        assert asked.counts == {"states": 8, "planned": 3, "failures": 0, "unknown_goals": 0}

    def test_a_planner_that_says_what_it_reads_is_given_only_that(self, states):
        recorder = Recorder(pure=True, reads=("wood",))
        asked = make(recorder)
        asked.plans(states(1, dark=False))
        asked.plans(states(1, 2, dark=True))
        assert recorder.asked == [[{"wood": 1}], [{"wood": 2}]]

    def test_without_reads_every_fact_counts(self, states):
        recorder = Recorder(pure=True)
        asked = make(recorder)
        asked.plans(states(1, dark=False))
        asked.plans(states(1, dark=True))
        assert len(recorder.asked) == 2

    def test_a_planner_that_reads_nothing_is_asked_once(self, states):
        recorder = Recorder(lambda row: [("eat cow", 1.0)], pure=True, reads=())
        asked = make(recorder)
        assert chosen(asked.plans(states(1, 2))) == [(1,), (1,)]
        asked.plans(states(3, dark=True))
        assert recorder.asked == [[{}]]

    def test_a_planner_that_is_not_pure_is_asked_every_time(self, states):
        recorder = Recorder(reads=("wood",))
        asked = make(recorder)
        asked.plans(states(1, 1))
        asked.plans(states(1))
        assert recorder.asked == [rows(1, 1), rows(1)]
        assert asked.counts["planned"] == asked.counts["states"] == 3

    def test_no_state_is_no_question(self, states):
        recorder = Recorder(pure=True)
        assert make(recorder).plans(states()) == []
        assert recorder.asked == []

    @pytest.mark.parametrize("most", [1, 2, 3, 5])
    def test_what_is_remembered_is_bounded_and_the_answers_stay_right(
        self, states, monkeypatch, most
    ):
        monkeypatch.setattr(planning, "_MOST_REMEMBERED", most)
        asked = make(Recorder(pure=True))
        random = np.random.default_rng(0)
        for _ in range(100):
            batch = random.integers(10, size=random.integers(1, 5)).tolist()
            assert chosen(asked.plans(states(*batch))) == [(wood % 3,) for wood in batch]
            assert len(asked._remembered) <= max(most, 4)  # a batch is never cut

    def test_a_full_memory_keeps_what_the_batch_needs(self, states, monkeypatch):
        monkeypatch.setattr(planning, "_MOST_REMEMBERED", 2)
        recorder = Recorder(pure=True)
        asked = make(recorder)
        asked.plans(states(1, 2))
        asked.plans(states(2, 3))
        assert recorder.asked == [rows(1, 2), rows(3)]

    def test_a_fact_that_does_not_exist_is_the_callers_mistake(self, states):
        asked = make(Recorder(pure=True, reads=("wood", "mana")))
        with pytest.raises(InvalidOptionError, match=r"'mana'") as caught:
            asked.plans(states(1))
        assert "['dark', 'wood']" in str(caught.value)


def failing_at_2(row):
    if row["wood"] == 2:
        raise RuntimeError("no plan for two")
    return [(GOALS[row["wood"] % 3], 1.0)]


class TestFailures:
    def test_one_bad_state_does_not_spoil_the_others(self, states):
        recorder = Recorder(failing_at_2)
        asked = make(recorder, fallback="collect wood")
        with pytest.warns(GuidanceWarning, match=r"RuntimeError: no plan for two.*said once"):
            plans = asked.plans(states(1, 2, 3))
        assert chosen(plans) == [(1,), (0,), (0,)]
        assert [plan.failed for plan in plans] == [False, True, False]
        assert asked.counts["failures"] == 1
        assert asked.counts["planned"] == 3

    @pytest.mark.parametrize("pure", [True, False])
    def test_failures_are_counted_each_time_and_warned_of_once(self, states, pure):
        recorder = Recorder(failing_at_2, pure=pure)
        asked = make(recorder)
        with pytest.warns(GuidanceWarning):
            asked.plans(states(2, 2, 1))
        for _ in range(2):
            asked.plans(states(2, 2, 1))  # a second warning would be an error
        assert asked.counts["failures"] == 6
        if pure:  # A state that failed is remembered like any other: asked in a batch, then alone.
            assert recorder.asked == [rows(2, 1), rows(2), rows(1)]

    @pytest.mark.parametrize(
        "answer",
        [
            [("eat cow", float("nan"))],
            [("eat cow", -1.0)],
            [("eat cow", True)],
            [("eat cow", "1")],
            [("eat cow", 10**400)],
            [("fly", 1.0)],
            [("eat cow", 0.0)],
            [],
            None,
            "eat cow",
            Goal("eat cow"),
        ],
        ids=repr,
    )
    def test_an_answer_that_cannot_be_used_is_the_fallback(self, answer):
        asked = make(Recorder(lambda row: answer), fallback="eat cow")
        with pytest.warns(GuidanceWarning, match="GuidanceError"):
            plans = asked.plans(rows(1, 2))
        assert plans == [Plan((1,), (1.0,), failed=True)] * 2
        assert asked.counts["failures"] == 2

    def test_unknown_goals_are_counted_and_the_rest_of_the_answer_holds(self):
        asked = make(Recorder(lambda row: [("fly", 9.0), ("eat cow", 1.0)], pure=True))
        assert chosen(asked.plans(rows(1)) + asked.plans(rows(1))) == [(1,), (1,)]
        assert asked.counts == {"states": 2, "planned": 1, "failures": 0, "unknown_goals": 2}

    @pytest.mark.parametrize(
        "wrong",
        [lambda facts: [], lambda facts: [[("eat cow", 1.0)]] * (len(facts) + 1), lambda facts: 3],
        ids=["none", "one too many", "no list"],
    )
    def test_a_wrong_number_of_answers_is_a_failure_of_all(self, wrong):
        asked = make(FunctionPlanner(wrong))
        with pytest.warns(GuidanceWarning):
            plans = asked.plans(rows(1, 2))
        assert [plan.failed for plan in plans] == [True, True]

    def test_the_expected_number_of_answers_is_said(self):
        asked = make(FunctionPlanner(lambda facts: []))
        with pytest.warns(GuidanceWarning, match="expected 1 lists of goals, got 0"):
            asked.plans(rows(1))

    def test_an_answer_may_be_empty_only_where_the_planner_says_so(self):
        silent = Recorder(lambda row: [], may_be_empty=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert make(silent).plans(rows(1)) == [Plan((), ())]

    def test_no_planner_plans_nothing_and_does_not_fail(self, states):
        asked = make(NoPlanner())
        assert asked.plans(states(1, 2, 2)) == [Plan((), ())] * 3
        assert asked.counts["failures"] == 0

    def test_an_interrupt_is_not_swallowed(self):
        def interrupted(facts):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make(FunctionPlanner(interrupted)).plans(rows(1))


class TestPlanner:
    def test_a_function_is_a_planner_that_gets_dicts_of_its_own(self, states):
        def plan(facts):
            assert type(facts) is list
            for row in facts:
                assert type(row) is dict
                row.clear()
            return [[("eat cow", 1.0)] for _ in facts]

        given = states(1, 2)
        planner = as_planner(plan)
        assert isinstance(planner, Planner)
        assert chosen(make(planner).plans(given)) == [(1,), (1,)]
        assert dict(given[0]) == {"wood": 1, "dark": False}

    def test_a_function_is_not_remembered_unless_it_is_pure(self):
        assert as_planner(lambda facts: []).pure is False
        assert FunctionPlanner(lambda facts: [], pure=True).pure is True

    def test_an_object_with_plan_is_taken_as_it_is(self):
        recorder = Recorder()
        assert as_planner(recorder) is recorder

    @pytest.mark.parametrize("planner", [None, 3, [("eat cow", 1.0)], {"plan": 1}])
    def test_anything_else_is_refused(self, planner):
        with pytest.raises(InvalidOptionError, match="expected a planner"):
            as_planner(planner)

    @pytest.mark.parametrize("planner", [NoPlanner, dict])
    def test_a_class_is_refused(self, planner):
        with pytest.raises(InvalidOptionError, match=f"got the class {planner.__name__}; call it"):
            as_planner(planner)


class TestVocabulary:
    def test_keeps_the_order(self):
        assert checked_vocabulary(["b", "a"]) == ("b", "a")

    @pytest.mark.parametrize(
        ("goals", "message"),
        [
            ("eat cow", "must be a list of non-empty strings, got 'eat cow'"),
            (["eat cow", ""], "must be a list of non-empty strings"),
            (["eat cow", None], "must be a list of non-empty strings"),
            ([], "describes no goals: pass them"),
            (["eat cow", "wake up", "eat cow"], "goals must not repeat"),
        ],
    )
    def test_anything_else_is_refused(self, goals, message):
        with pytest.raises(InvalidOptionError, match=message):
            checked_vocabulary(goals)

    def test_the_fallback_is_a_goal_of_the_vocabulary(self):
        assert make(NoPlanner(), fallback="eat cow").fallback == Plan((1,), (1.0,), failed=True)
