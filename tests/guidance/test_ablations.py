"""Guidance that knows nothing."""

import os
import subprocess
import sys

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_wrappers import MaskBank
from llm_wrappers.captions.facts_table import FactColumns, FactsTable
from llm_wrappers.errors import UnknownNameError
from llm_wrappers.guidance import FunctionPlanner, Goal
from llm_wrappers.guidance.ablations import (
    EqualPlanner,
    NoPlanner,
    RandomPlanner,
    ShuffledPlanner,
    SinglePlanner,
    random_masks,
    shuffled_masks,
)
from llm_wrappers.guidance.planning import Planning

# However slow the machine is at the moment.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

GOALS = ("collect wood", "eat cow", "wake up", "place table")
STATE = {"wood": 3, "dark": True, "near": None, "facing": "tree", "unlocked": ("a", "b"), "x": 0.5}
goal_lists = st.lists(st.text(min_size=1), min_size=2, max_size=8, unique=True)

PRINT_ALL = f"""
from llm_wrappers.guidance.ablations import *
state = {STATE!r}
print([(goal.text, goal.weight) for goal in RandomPlanner({GOALS!r}, seed=3).plan([state])[0]])
print(random_masks({GOALS!r}, range(17), seed=3))
print(ShuffledPlanner(NoPlanner(), {GOALS!r}, seed=3).exchange)
"""


def test_everything_random_is_the_same_in_every_process():
    def run(hash_seed):
        return subprocess.run(
            [sys.executable, "-c", PRINT_ALL],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    first = run("1")
    assert first.count("\n") == 3
    assert run("2") == first


class TestNone:
    def test_plans_nothing_everywhere(self):
        assert NoPlanner().plan([{}, {}, {}]) == [[], [], []]


class TestSingle:
    @examples
    @given(goal_lists, st.data())
    def test_the_goal_is_the_same_in_every_state(self, goals, data):
        goal = data.draw(st.sampled_from(goals))
        plans = SinglePlanner(goals, goal).plan([{"x": x} for x in range(3)])
        assert plans == [[Goal(goal, 1.0)]] * 3

    def test_by_default_it_is_the_last_one(self):
        assert SinglePlanner(GOALS).goal == "place table"

    def test_it_is_asked_once_whatever_the_states_are(self):
        asked = Planning(SinglePlanner(GOALS, "eat cow"), goals=GOALS, fallback=GOALS[0])
        plans = asked.plans([{"x": 1}, {"x": 2}]) + asked.plans([{"y": 3}])
        assert {plan.goals for plan in plans} == {(GOALS.index("eat cow"),)}
        assert (asked.counts["planned"], asked.counts["failures"]) == (1, 0)

    @pytest.mark.parametrize("goal", ["fly", ""])
    def test_a_goal_outside_the_vocabulary_is_refused(self, goal):
        with pytest.raises(UnknownNameError, match=f"'place table'\\], got {goal!r}"):
            SinglePlanner(GOALS, goal)


class TestRandom:
    def test_all_goals_have_a_positive_weight(self):
        planner = RandomPlanner(GOALS)
        for answer in planner.plan([{"x": x} for x in range(50)]):
            assert tuple(goal.text for goal in answer) == GOALS
            assert all(goal.weight > 0 for goal in answer)

    def test_equal_states_have_equal_weights_whatever_holds_them(self):
        columns = (FactColumns("wood", (0, 1)), FactColumns("dark", (False, True)))
        table = FactsTable(columns, np.array([[1, 0]], np.int8))
        first, second, third = RandomPlanner(GOALS).plan(
            [table[0], {"wood": 1, "dark": False}, {"dark": False, "wood": 1}]
        )
        assert first == second == third

    def test_other_states_and_other_seeds_have_other_weights(self):
        here, there = RandomPlanner(GOALS).plan([{"x": 1}, {"x": 2}])
        assert here != there
        assert RandomPlanner(GOALS, seed=1).plan([{"x": 1}]) != [here]

    def test_every_goal_is_the_best_somewhere(self):
        answers = RandomPlanner(GOALS).plan([{"x": x} for x in range(200)])
        best = [max(answer, key=lambda goal: goal.weight).text for answer in answers]
        assert all(25 <= best.count(goal) <= 80 for goal in GOALS)

    def test_it_is_remembered_by_all_facts(self):
        asked = Planning(RandomPlanner(GOALS), goals=GOALS, fallback=GOALS[0])
        first, second, third = asked.plans([{"x": 1}, {"x": 2}, {"x": 1}])
        assert first == third != second
        assert asked.counts["planned"] == 2


class TestShuffled:
    @examples
    @given(goal_lists, st.integers(0, 1000))
    def test_no_goal_stays_in_its_place(self, goals, seed):
        exchange = ShuffledPlanner(NoPlanner(), goals, seed=seed).exchange
        assert sorted(exchange) == sorted(exchange.values()) == sorted(goals)
        assert all(goal != other for goal, other in exchange.items())

    def test_moments_and_weights_are_those_of_the_other_planner(self):
        def plan(facts):
            return [[("eat cow", row["x"]), Goal("wake up", 2.0), ("fly", 3.0)] for row in facts]

        planner = ShuffledPlanner(FunctionPlanner(plan), GOALS)
        new = planner.exchange
        assert planner.plan([{"x": 1.0}, {"x": 5.0}]) == [
            [(new["eat cow"], weight), (new["wake up"], 2.0), ("fly", 3.0)] for weight in (1.0, 5.0)
        ]

    def test_another_seed_exchanges_otherwise(self):
        exchanges = [ShuffledPlanner(NoPlanner(), GOALS, seed=seed).exchange for seed in range(9)]
        assert any(exchange != exchanges[0] for exchange in exchanges)

    def test_it_is_as_pure_as_the_other_planner_and_reads_the_same(self):
        class Other:
            pure, reads, may_be_empty = True, ("x",), True

            def plan(self, facts):
                return [[("eat cow", 1.0)] if row["x"] else [] for row in facts]

        asked = Planning(ShuffledPlanner(Other(), GOALS), goals=GOALS, fallback=GOALS[0])
        plans = asked.plans([{"x": 1, "y": 1}, {"x": 1, "y": 2}, {"x": 0, "y": 1}])
        assert [len(plan.goals) for plan in plans] == [1, 1, 0]
        assert (asked.counts["planned"], asked.counts["failures"]) == (2, 0)
        assert ShuffledPlanner(FunctionPlanner(lambda facts: []), GOALS).pure is False

    def test_a_single_goal_has_no_other_place(self):
        assert ShuffledPlanner(NoPlanner(), ["go"]).exchange == {"go": "go"}


class TestEqual:
    def test_the_goals_that_have_a_weight_have_the_same(self):
        def plan(facts):
            return [[("eat cow", row["x"]), Goal("wake up", 2.0), ("fly", 0.0)] for row in facts]

        planner = EqualPlanner(FunctionPlanner(plan))
        assert planner.plan([{"x": 9.0}, {"x": 0.0}]) == [
            [("eat cow", 1.0), ("wake up", 1.0)],
            [("wake up", 1.0)],
        ]

    def test_it_is_as_pure_as_the_other_planner_and_reads_the_same(self):
        planner = EqualPlanner(NoPlanner())
        assert (planner.pure, planner.reads, planner.may_be_empty) == (True, (), True)
        planner = EqualPlanner(FunctionPlanner(lambda facts: []))
        assert (planner.pure, planner.reads, planner.may_be_empty) == (False, None, False)


class TestMasks:
    @examples
    @given(goal_lists, st.integers(1, 20), st.integers(0, 1000))
    def test_random_ones_leave_something_open_for_every_goal(self, goals, actions, seed):
        masks = random_masks(goals, range(actions), seed=seed)
        assert list(masks) == goals
        MaskBank(masks, spaces.Discrete(actions))  # which refuses an empty one

    def test_random_ones_leave_half_open(self):
        masks = random_masks([f"goal {number}" for number in range(300)], range(20))
        assert 0.45 < np.mean([len(row) / 20 for row in masks.values()]) < 0.6

    def test_random_ones_keep_names(self):
        assert set(random_masks(["go"], ["left", "right"])["go"]) <= {"left", "right"}

    def test_random_ones_differ_between_goals_and_seeds(self):
        masks = random_masks(GOALS, range(17))
        assert len({tuple(row) for row in masks.values()}) == len(GOALS)
        assert random_masks(GOALS, range(17), seed=1) != masks

    @examples
    @given(goal_lists, st.integers(0, 1000))
    def test_shuffled_ones_give_each_goal_the_actions_of_another(self, goals, seed):
        masks = {goal: [number] for number, goal in enumerate(goals)}
        shuffled = shuffled_masks(masks, seed=seed)
        assert list(shuffled) == goals
        assert sorted(shuffled.values()) == sorted(masks.values())
        assert all(shuffled[goal] != masks[goal] for goal in goals)

    @pytest.mark.parametrize("masks", [{}, {"go": [1]}])
    def test_one_or_none_stays(self, masks):
        assert shuffled_masks(masks) == masks
