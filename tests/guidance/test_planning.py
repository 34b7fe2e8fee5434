"""Asking a planner: remembered where it may be, checked always, never fatal."""

import numpy as np
import pytest

from llm_wrappers.captions.facts_table import FactColumns, FactsTable
from llm_wrappers.errors import GuidanceWarning, InvalidOptionError
from llm_wrappers.guidance import FunctionPlanner, Planner, resolve_planner
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


class TestPlans:
    def test_each_state_has_the_plan_of_its_goals(self, states):
        asked = make(Recorder(pure=True))
        assert chosen(asked.plans(states(1, 2, 1))) == [(1,), (2,), (1,)]
        assert asked.counts == {
            "states": 3,
            "unknown_goals": 0,
            "failures": 0,
            "planned": 2,
            "consulted": 3,
            "unguided": 0,
        }

    def test_a_planner_is_given_dicts(self, states):
        def generate(row):
            assert type(row) is dict
            return [("eat cow", 1.0)]

        class Planned:
            def plan(self, facts):
                return [generate(row) for row in facts]

        assert chosen(make(Planned()).plans(states(1, 2))) == [(1,), (1,)]

    def test_where_it_fails_the_fallback_stands_in(self):
        asked = make(Recorder(lambda row: "eat cow"), fallback="eat cow")
        with pytest.warns(GuidanceWarning, match="steps like this one run without guidance and"):
            plans = asked.plans(rows(1, 2))
        assert plans == [Plan((1,), (1.0,), failed=True)] * 2

    def test_unknown_goals_are_counted_and_the_rest_of_the_answer_holds(self):
        asked = make(Recorder(lambda row: [("fly", 9.0), ("eat cow", 1.0)], pure=True))
        assert chosen(asked.plans(rows(1)) + asked.plans(rows(1))) == [(1,), (1,)]
        assert asked.stats()["unknown_goals"] == 2
        assert asked.stats()["failures"] == 0

    def test_an_answer_may_be_empty_only_where_the_planner_says_so(self):
        silent = make(Recorder(lambda row: [], may_be_empty=True))
        assert silent.plans(rows(1)) == [Plan((), ())]
        assert silent.stats()["unguided"] == 0  # It is guided to nothing.
        with pytest.warns(GuidanceWarning, match="no goal of the vocabulary"):
            make(Recorder(lambda row: [])).plans(rows(1))

    def test_no_planner_plans_nothing_and_does_not_fail(self, states):
        asked = make(NoPlanner())
        assert asked.plans(states(1, 2, 2)) == [Plan((), ())] * 3
        assert asked.stats()["failures"] == 0


class TestNumPy:
    """Planners written with NumPy, as people write them."""

    GOALS = np.array(GOALS)

    @pytest.mark.parametrize(
        "answer",
        [
            [("eat cow", np.exp(-1.0))],
            [("eat cow", np.float32(2))],
            [("eat cow", np.int64(2)), ("wake up", np.uint8(1))],
            [(GOALS[1], 1)],
            [("eat cow", np.array([3, 4])[1] > 3), ("wake up", False)],
            np.array([("eat cow", 0.7), ("wake up", 0.3)]),
            np.array([("eat cow", 0.7), ("wake up", 0.3)], dtype=object),
            list(zip(GOALS, np.array([0.1, 0.7, 0.2]), strict=True)),
            dict(zip(GOALS.tolist(), np.array([0.1, 0.7, 0.2]), strict=True)),
        ],
        ids=repr,
    )
    def test_is_understood(self, answer):
        asked = make(as_planner(lambda facts: [answer for _ in facts]))
        assert [plan.best for plan in asked.plans(rows(1, 2))] == [1, 1]
        assert asked.stats()["failures"] == 0


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
