"""A planner's answer, checked once."""

import math
import re
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from llm_wrappers import Goal
from llm_wrappers.errors import GuidanceError
from llm_wrappers.guidance.plan import Plan, checked_plan


class Pair(NamedTuple):
    goal: str
    weight: float


# However slow the machine is at the moment.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

GOALS = {"collect wood": 0, "eat cow": 1, "wake up": 2}

LIST = "expected a list of (goal, weight) per state"
WEIGHTS = "expected weights that are"
NONE = "no goal of the vocabulary has a positive weight"
SPELLED = f"expected goals spelled as in {list(GOALS)}"

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary(max_size=3)
    | st.text(max_size=3)
    | st.sampled_from([*GOALS, "fly", 10**400, -(10**400), math.nan, math.inf, 1e308])
    | st.sampled_from([np.float64(1), np.int64(1), np.nan, np.array([1.0, 2.0]), range(2), Goal])
    | st.builds(Goal, st.sampled_from([*GOALS, "fly"]), st.sampled_from([0, 1, 0.5, 1e308]))
)
junk = st.recursive(
    leaves,
    lambda parts: (
        st.lists(parts, max_size=4)
        | st.lists(parts, max_size=3).map(tuple)
        | st.tuples(st.sampled_from([*GOALS, "fly"]), parts)
        | st.dictionaries(st.sampled_from([*GOALS, 1]), parts, max_size=3)
    ),
    max_leaves=12,
)
pairs = st.lists(
    st.tuples(
        st.sampled_from([*GOALS, "fly"]), st.sampled_from([0, 0.0, 1, 2.5, 1e-300, 1e308, -1.0])
    )
)


@given(junk | pairs, st.booleans())
@settings(examples, max_examples=500)
def test_whatever_the_answer_is_a_plan_or_a_guidance_error_comes_out(answer, may_be_empty):
    try:
        plan = checked_plan(answer, GOALS, may_be_empty=may_be_empty)
    except GuidanceError:
        return
    assert plan.goals or (may_be_empty and len(answer) == 0)
    assert set(plan.goals) <= set(GOALS.values())
    assert len(set(plan.goals)) == len(plan.goals) == len(plan.weights)
    assert all(0 < weight < math.inf for weight in plan.weights)
    assert not plan.failed
    if plan.goals:
        assert math.isfinite(plan.cumulative[-1])
        assert {plan.draw(0.0), plan.draw(1 - 2**-53), plan.best} <= set(plan.goals)


def test_goals_and_pairs_are_both_taken():
    plan = checked_plan([Goal("wake up", 3), ("eat cow", 1.5), ["collect wood", 2]], GOALS)
    assert plan == Plan(goals=(2, 1, 0), weights=(3.0, 1.5, 2.0))


@pytest.mark.parametrize(
    "answer",
    [
        {"eat cow": 1, "wake up": 2.5},
        Counter({"eat cow": 1, "wake up": 2.5}),
        [("eat cow", np.float32(1)), ("wake up", np.float64(2.5))],
        [("eat cow", True), ("wake up", 2.5)],
        [("eat cow", np.True_), ("wake up", np.float16(2.5)), ("collect wood", np.False_)],
        [(np.str_("eat cow"), np.int64(1)), (np.str_("wake up"), np.longdouble(2.5))],
        [np.array(["eat cow", 1], dtype=object), ("wake up", 2.5)],
        np.array([["eat cow", 1], ["wake up", 2.5]]),
        np.array([["eat cow", 1], ["wake up", 2.5]], dtype=object),
        np.array([("eat cow", 1), ("wake up", 2.5)], dtype=[("goal", "U9"), ("weight", "f4")]),
        (Goal(np.str_("eat cow"), np.float64(1)), Pair("wake up", 2.5)),
    ],
    ids=repr,
)
def test_whatever_people_write_pairs_in_is_taken(answer):
    plan = checked_plan(answer, GOALS)
    assert plan == Plan(goals=(1, 2), weights=(1.0, 2.5))
    assert all(type(weight) is float for weight in plan.weights)


def test_unknown_goals_are_dropped_and_counted():
    plan = checked_plan([("fly", 9.0), ("eat cow", 1.0), ("swim", 0.0)], GOALS)
    assert plan == Plan(goals=(1,), weights=(1.0,), unknown=2)


def test_goals_without_weight_are_dropped():
    assert checked_plan([("eat cow", 1.0), ("wake up", 0.0)], GOALS).goals == (1,)


def test_the_weights_of_a_repeated_goal_add_up():
    plan = checked_plan([("eat cow", 1.0), ("wake up", 5), ("eat cow", 2.0)], GOALS)
    assert plan == Plan(goals=(1, 2), weights=(3.0, 5.0))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, f"{LIST}, got a NoneType"),
        ({"eat cow"}, f"{LIST}, got a set"),
        (3, f"{LIST}, got an int"),
        ("eat cow", f"{LIST}, got one text: write [(text, 1.0)]"),
        (np.str_("eat cow"), f"{LIST}, got one text: write [(text, 1.0)]"),
        (Goal("eat cow"), f"{LIST}, got one Goal: write [goal]"),
        ((pair for pair in [("eat cow", 1.0)]), f"{LIST}, got a generator: write list(...)"),
        (zip(["eat cow"], [1.0], strict=True), f"{LIST}, got a zip: write list(...)"),
        (np.array("eat cow"), f"{LIST}, got a ndarray"),
        ([("eat cow", 1.0)] * 10_001, "expected at most 10,000 goals, got 10,001"),
        (dict.fromkeys(map(str, range(10_001)), 1), "expected at most 10,000 goals, got 10,001"),
        (["eat cow"], "expected (goal, weight) pairs"),
        (np.array(["eat cow", "wake up"]), "expected (goal, weight) pairs"),
        ([("eat cow", 1.0, 2.0)], "expected (goal, weight) pairs"),
        ([("eat cow",)], "expected (goal, weight) pairs"),
        ([{"eat cow": 1.0}], "expected (goal, weight) pairs"),
        ([(1.0, "eat cow")], "expected a goal's text, got a float"),
        ([(["eat cow"], 1.0)], "expected a goal's text, got a list"),
        ({Goal("eat cow"): 1.0}, "expected a goal's text, got a Goal"),
        ([("eat cow", math.nan)], f"{WEIGHTS} finite and >= 0, got nan"),
        ([("eat cow", np.float32("inf"))], f"{WEIGHTS} finite and >= 0, got inf"),
        ([("eat cow", -0.1)], f"{WEIGHTS} finite and >= 0, got -0.1"),
        ([("eat cow", np.int8(-2))], f"{WEIGHTS} finite and >= 0, got -2"),
        ([("eat cow", 10**400)], f"{WEIGHTS} finite and >= 0, got inf"),
        ([("eat cow", "1")], f"{WEIGHTS} numbers, got a str"),
        ([("eat cow", None)], f"{WEIGHTS} numbers, got a NoneType"),
        ([("eat cow", 1j)], f"{WEIGHTS} numbers, got a complex"),
        ([("eat cow", np.array([1.0]))], f"{WEIGHTS} numbers, got a ndarray"),
        (np.array([("eat cow", "much")]), f"{WEIGHTS} numbers, got a str"),
        ([("eat cow", 1e308), ("wake up", 1e308)], "expected weights with a finite sum"),
        ([("eat cow", 1e308), ("eat cow", 1e308)], "expected weights with a finite sum"),
        ([("Eat Cow", 1.0)], f"{NONE}: {SPELLED}, got 'Eat Cow'"),
        ([("x" * 90, 1.0)], f"{NONE}: {SPELLED}, got {'x' * 60!r}"),
        ([("eat cow", 0.0)], NONE),
        ([("eat cow", False)], NONE),
        ([], NONE),
    ],
)
def test_what_cannot_be_used_is_an_error_that_says_what_was_expected(answer, message):
    with pytest.raises(GuidanceError, match=f"^{re.escape(message)}$"):
        checked_plan(answer, GOALS)


def test_one_bad_weight_spoils_the_answer_even_of_an_unknown_goal():
    with pytest.raises(GuidanceError):
        checked_plan([("eat cow", 1.0), ("fly", math.nan)], GOALS)


def test_no_goal_at_all_is_an_answer_only_where_it_may_be():
    assert checked_plan([], GOALS, may_be_empty=True) == Plan((), ())
    assert checked_plan((), GOALS, may_be_empty=True).best == -1
    with pytest.raises(GuidanceError):
        checked_plan([("fly", 1.0)], GOALS, may_be_empty=True)


def refuse(*_):
    raise AssertionError("something of the answer was called")


class Loud(type):
    __hash__ = __eq__ = __instancecheck__ = __subclasscheck__ = __repr__ = refuse
    __name__ = property(refuse)


def hostile(*bases):
    """Return a class all of whose methods say that they were called."""
    methods = (
        "__hash__ __eq__ __repr__ __str__ __len__ __iter__ __bool__ __float__ __getattribute__"
    )
    return Loud("Hostile", bases, dict.fromkeys((*methods.split(), "items", "item"), refuse))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: hostile()(), "got a Hostile"),
        (lambda: hostile(str)("eat cow"), "got one text"),
        (lambda: [hostile()()], "pairs"),
        (lambda: [(hostile(str)("eat cow"), 1.0)], "text, got a Hostile"),
        (lambda: [("eat cow", hostile(str)("1"))], "numbers, got a Hostile"),
        (lambda: [("eat cow", hostile(float)(1.0))], "numbers, got a Hostile"),
        (lambda: [("eat cow", hostile(np.float64)(1.0))], "numbers, got a Hostile"),
        (lambda: hostile(list)(), NONE),
        (lambda: hostile(dict)(), NONE),
        (lambda: [hostile(tuple)(("eat cow", None))], "got a NoneType"),
    ],
)
def test_nothing_of_the_answer_is_printed_compared_or_called(answer, message):
    with pytest.raises(GuidanceError, match=message):
        checked_plan(answer(), GOALS)


def test_the_best_goal_is_the_first_of_the_largest_weight():
    assert Plan(goals=(4, 7, 2), weights=(1.0, 3.0, 3.0)).best == 7


@given(
    st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5),
    st.integers(0, 2**32),
)
@settings(examples, max_examples=20)
def test_goals_are_drawn_in_proportion_to_their_weights(weights, seed):
    plan = Plan(goals=tuple(range(10, 10 + len(weights))), weights=tuple(weights))
    n = 4000
    uniform = np.random.default_rng(seed).random(n).tolist()
    drawn = Counter(map(plan.draw, uniform))
    for goal, weight in zip(plan.goals, weights, strict=True):
        share = weight / sum(weights)
        # Six standard deviations, and what a whole draw more or less makes.
        assert abs(drawn[goal] / n - share) <= 6 * math.sqrt(share * (1 - share) / n) + 1 / n


@examples
@given(st.lists(st.floats(5e-324, 1e300), min_size=1, max_size=6))
def test_the_ends_of_the_unit_interval_draw_the_first_and_the_last_goal(weights):
    plan = Plan(goals=tuple(range(len(weights))), weights=tuple(weights))
    assert plan.draw(0.0) == 0
    # A last weight that is lost in rounding can never be drawn.
    assume(plan.cumulative[-1] * (1 - 2**-53) >= (0.0, *plan.cumulative)[-2])
    assert plan.draw(1 - 2**-53) == len(weights) - 1
