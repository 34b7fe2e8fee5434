"""Choosing one goal of a plan, for n sub-environments."""

import numpy as np
import pytest

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.critical.selection import NO_GOAL, GoalSelector
from llm_wrappers.guidance.plan import Plan

NOTHING = Plan((), ())
EVEN = Plan(goals=(2, 5), weights=(1.0, 1.0))
ONLY_5 = Plan(goals=(5,), weights=(1.0,))
FAILED = Plan((0,), (1.0,), failed=True)


class Fixed:
    """A generator that counts its draws."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def random(self):
        return self.numbers.pop(0)


def select(selector, *plans, fresh=None, draws=None, rows=None):
    generators = [Fixed(*numbers) for numbers in draws or [()] * len(plans)]
    fresh = np.zeros(len(plans), bool) if fresh is None else np.array(fresh, bool)
    goals = selector.select(plans, generators, fresh, None if rows is None else np.array(rows))
    assert not any(generator.numbers for generator in generators), "drawn less than expected"
    assert goals.dtype == np.int64
    return goals.tolist()


class TestSample:
    def test_draws_by_weight(self):
        selector = GoalSelector(2, selection="sample", reselect="every_step")
        uneven = Plan(goals=(1, 3), weights=(1.0, 3.0))
        assert select(selector, uneven, uneven, draws=[(0.24,), (0.26,)]) == [1, 3]

    def test_each_sub_environment_draws_from_its_own_generator(self):
        def goals_of(seeds, n):
            selector = GoalSelector(n, selection="sample", reselect="every_step")
            generators = [np.random.default_rng(seed) for seed in seeds]
            fresh = np.zeros(n, bool)
            return [selector.select([EVEN] * n, generators, fresh).tolist() for _ in range(50)]

        both = np.array(goals_of([3, 4], 2))
        assert both[:, [0]].tolist() == goals_of([3], 1)
        assert both[:, [1]].tolist() == goals_of([4], 1)
        assert set(both.ravel().tolist()) == {2, 5}

    def test_one_goal_takes_no_draw(self):
        selector = GoalSelector(2, selection="sample", reselect="every_step")
        assert select(selector, ONLY_5, NOTHING) == [5, NO_GOAL]


class TestArgmax:
    def test_takes_the_first_of_the_largest_weight_and_draws_nothing(self):
        selector = GoalSelector(1, selection="argmax", reselect="every_step")
        assert select(selector, Plan(goals=(1, 2, 3), weights=(1.0, 4.0, 4.0))) == [2]


class TestOnChange:
    def test_a_goal_is_kept_while_the_plan_contains_it(self):
        selector = GoalSelector(1, selection="sample", reselect="on_change")
        assert select(selector, EVEN, draws=[(0.9,)]) == [5]
        assert select(selector, EVEN) == [5]
        assert select(selector, Plan(goals=(2, 5), weights=(9.0, 0.1))) == [5]
        assert select(selector, Plan(goals=(1, 2), weights=(1.0, 1.0)), draws=[(0.9,)]) == [2]

    def test_it_holds_for_argmax_too(self):
        selector = GoalSelector(1, selection="argmax", reselect="on_change")
        select(selector, ONLY_5)
        assert select(selector, Plan(goals=(2, 5), weights=(9.0, 0.1))) == [5]

    def test_a_fresh_episode_forgets_the_goal(self):
        selector = GoalSelector(2, selection="sample", reselect="on_change")
        select(selector, EVEN, EVEN, draws=[(0.9,), (0.9,)])
        assert select(selector, EVEN, EVEN, fresh=[True, False], draws=[(0.1,), ()]) == [2, 5]

    def test_an_empty_plan_forgets_the_goal(self):
        selector = GoalSelector(1, selection="sample", reselect="on_change")
        select(selector, EVEN, draws=[(0.9,)])
        assert select(selector, NOTHING) == [NO_GOAL]
        assert select(selector, EVEN, draws=[(0.1,)]) == [2]


def test_every_step_chooses_anew():
    selector = GoalSelector(1, selection="sample", reselect="every_step")
    drawn = [select(selector, EVEN, draws=[(number,)])[0] for number in (0.9, 0.1, 0.9)]
    assert drawn == [5, 2, 5]


class TestRows:
    def test_only_these_sub_environments_change(self):
        selector = GoalSelector(4, selection="argmax", reselect="every_step")
        select(selector, ONLY_5, NOTHING, FAILED, EVEN)
        assert select(selector, EVEN, ONLY_5, rows=[3, 1]) == [2, 5]
        assert selector.goals.tolist() == [5, 5, 0, 2]
        assert selector.guided.tolist() == [True, True, False, True]

    def test_kept_goals_are_those_of_the_same_row(self):
        selector = GoalSelector(3, selection="argmax", reselect="on_change")
        select(selector, Plan((2,), (1.0,)), ONLY_5, Plan((7,), (1.0,)))
        three = Plan(goals=(9, 5, 7), weights=(3.0, 1.0, 1.0))
        assert select(selector, three, three, rows=[2, 0]) == [7, 9]
        assert selector.goals.tolist() == [9, 5, 7]

    def test_fresh_belongs_to_the_rows_given(self):
        selector = GoalSelector(3, selection="argmax", reselect="on_change")
        select(selector, ONLY_5, ONLY_5, ONLY_5)
        two = Plan(goals=(2, 5), weights=(2.0, 1.0))
        assert select(selector, two, two, rows=[1, 2], fresh=[False, True]) == [5, 2]


def test_nothing_is_pursued_before_the_first_selection():
    selector = GoalSelector(2, selection="sample", reselect="on_change")
    assert selector.goals.tolist() == [NO_GOAL, NO_GOAL]
    assert not selector.guided.any()


def test_a_failed_plan_shows_its_fallback_but_does_not_guide():
    selector = GoalSelector(3, selection="sample", reselect="on_change")
    assert select(selector, FAILED, NOTHING, ONLY_5) == [0, NO_GOAL, 5]
    assert selector.guided.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("option", "value"), [("selection", "best"), ("selection", None), ("reselect", "never")]
)
def test_a_bad_option_is_refused(option, value):
    options = {"selection": "sample", "reselect": "on_change", option: value}
    with pytest.raises(InvalidOptionError, match=rf"{option} must be one of \(.*\), got {value!r}"):
        GoalSelector(1, **options)
