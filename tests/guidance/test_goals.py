"""Goals, plans of them, factors of their weights, and which one is chosen."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from llm_wrappers import Goal
from llm_wrappers.checks import is_weight
from llm_wrappers.errors import GuidanceError, GuidanceWarning, InvalidOptionError
from llm_wrappers.guidance.ablations import NoPlanner
from llm_wrappers.guidance.goals import NO_GOAL, GoalSelector, Plan, checked_plan
from llm_wrappers.guidance.planners import Planning

# However slow the machine is at the moment.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    "weight", [0, 1, 0.0, 2.5, 1e308, 5e-324, np.float32(0.5), np.float16(2), np.int8(3)]
)
def test_a_weight_is_any_finite_number_from_zero(weight):
    assert Goal("collect wood", weight).weight == weight


@pytest.mark.parametrize(
    "weight",
    [
        -1, -1e-9, float("nan"), float("inf"), -float("inf"), True, "1", None, 10**400,
        np.float32(-1), np.float32("nan"), np.float16("inf"), np.True_,
    ],
)  # fmt: skip
def test_any_other_weight_is_refused_with_the_goal_and_the_weight(weight):
    with pytest.raises(InvalidOptionError) as caught:
        Goal("collect wood", weight)
    assert str(caught.value) == (
        f"the weight of goal 'collect wood' must be finite and >= 0, got {weight!r}"
    )


@pytest.mark.parametrize("text", ["", None, 3, b"collect wood", ["collect wood"]])
def test_a_text_that_is_no_text_is_refused(text):
    with pytest.raises(InvalidOptionError, match="must be a non-empty string, got"):
        Goal(text)


@examples
@given(st.floats(min_value=0, allow_infinity=False, allow_nan=False) | st.integers(0, 2**1023))
def test_every_weight_that_is_one_is_a_finite_float(weight):
    assert is_weight(weight)
    assert 0 <= float(weight) < float("inf")


class Pair(NamedTuple):
    goal: str
    weight: float


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


NAMES = ("collect wood", "eat cow", "wake up")
positive = st.floats(min_value=5e-324, max_value=1.7e308)


class Counting:
    """A pure planner of two goals that counts the states it is asked about."""

    def __init__(self, *, pure: bool = True) -> None:
        self.pure = pure
        self.asked = 0

    def plan(self, facts: Any) -> Any:
        self.asked += len(facts)
        return [[("collect wood", 2.0), ("eat cow", 1.0 + row["wood"])] for row in facts]


def make(planner: Any = None) -> Planning:
    return Planning(planner or Counting(), goals=NAMES, fallback="wake up")


def rows(*woods: int) -> list[dict[str, int]]:
    return [{"wood": wood} for wood in woods]


@pytest.mark.parametrize("pure", [True, False], ids=["remembered", "asked anew"])
def test_weights_are_multiplied_and_the_best_follows(pure: bool) -> None:
    asked = make(Counting(pure=pure))
    (before,) = asked.plans(rows(0))
    assert (before.weights, before.best) == ((2.0, 1.0), 0)
    asked.set_factors({"eat cow": 4.0})
    (after,) = asked.plans(rows(0))
    assert after.goals == before.goals
    assert (after.weights, after.cumulative, after.best) == ((2.0, 4.0), (2.0, 6.0), 1)
    asked.set_factors({"eat cow": 0.5, "collect wood": 0.5})
    assert asked.plans(rows(0))[0].weights == (1.0, 0.5)  # of the planner's own, not of the last
    asked.set_factors({})
    assert asked.plans(rows(0)) == [before]


def test_the_planner_is_not_asked_again() -> None:
    planner = Counting()
    asked = make(planner)
    asked.plans(rows(0, 1, 2))
    for factor in (2.0, 3.0, 1.0):
        asked.set_factors({"eat cow": factor})
        asked.plans(rows(0, 1, 2, 1))
    assert planner.asked == 3
    assert (asked.counts["states"], asked.counts["planned"]) == (15, 3)
    asked.set_factors({"eat cow": 5.0})
    assert asked.plans(rows(3))[0].weights == (2.0, 20.0)
    assert planner.asked == 4


def test_factors_of_one_build_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = make()
    asked.set_factors(dict.fromkeys(NAMES, 1))
    first = asked.plans(rows(0, 1))

    def refuse(*_: Any) -> Any:
        raise AssertionError("a plan was multiplied")

    monkeypatch.setattr(Plan, "scaled", refuse)
    assert all(one is other for one, other in zip(first, asked.plans(rows(0, 1)), strict=True))


def test_a_failed_answer_and_an_empty_one_stay_as_they_are() -> None:
    class Broken(Counting):
        def plan(self, facts: Any) -> Any:
            raise RuntimeError("no plan")

    for pure in (True, False):
        asked = make(Broken(pure=pure))
        asked.set_factors({"wake up": 3.0})
        with pytest.warns(GuidanceWarning, match="no plan"):
            assert asked.plans(rows(0)) == [asked.fallback]
    asked = make(NoPlanner())
    asked.set_factors({"wake up": 3.0})
    assert asked.plans(rows(0)) == [Plan((), ())]


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"fly": 2.0}, r"vocabulary.*got \['fly'\]"),
        ({"eat cow": 0}, "finite and > 0, got 0"),
        ({"eat cow": -1.0}, "finite and > 0, got -1.0"),
        ({"eat cow": float("nan")}, "finite and > 0, got nan"),
        ({"eat cow": float("inf")}, "finite and > 0, got inf"),
        ({"eat cow": True}, "finite and > 0, got True"),
        ({"eat cow": "2"}, "finite and > 0, got '2'"),
        ([("eat cow", 2.0)], "goal -> factor"),
    ],
)
def test_what_is_no_factor_is_refused_and_changes_nothing(factors: Any, message: str) -> None:
    asked = make()
    asked.set_factors({"wake up": 2.0})
    with pytest.raises(InvalidOptionError, match=message):
        asked.set_factors(factors)
    assert asked.factors["wake up"] == 2.0


def test_factors_outlive_the_run_in_its_state() -> None:
    asked = make()
    asked.set_factors({"eat cow": 4})
    asked.plans(rows(0))
    state = json.loads(json.dumps(asked.state_dict()))
    assert state["factors"] == {"collect wood": 1.0, "eat cow": 4.0, "wake up": 1.0}
    other = make()
    other.plans(rows(0))
    other.load_state_dict(state)
    assert other.plans(rows(0))[0].weights == (2.0, 4.0)
    other.load_state_dict(make().state_dict())
    assert other.plans(rows(0))[0].weights == (2.0, 1.0)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"eat cow": 1.0}, r"the goals \['collect wood', 'eat cow', 'wake up'\], got .*'eat cow'"),
        ({**dict.fromkeys(NAMES, 1.0), "fly": 1.0}, "got one of .*'fly'"),
        ({**dict.fromkeys(NAMES, 1.0), "eat cow": 0}, "finite and > 0, got 0"),
        (None, "expected factors as goal -> factor, got None"),
    ],
)
def test_a_state_of_other_goals_is_refused_and_changes_nothing(factors: Any, message: str) -> None:
    asked = make()
    asked.set_factors({"wake up": 2.0})
    before = asked.state_dict()
    with pytest.raises(InvalidOptionError, match=message):
        asked.load_state_dict({**before, "states": 7, "factors": factors})
    assert asked.state_dict() == before


@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=5), st.floats(0, 1))
def test_any_product_can_be_drawn_from(pairs: Any, uniform: float) -> None:
    weights, factors = zip(*pairs, strict=True)
    if sum(weights) == float("inf"):
        weights = tuple(weight / len(weights) / 2 for weight in weights)
        weights = tuple(max(weight, 5e-324) for weight in weights)
    plan = Plan(tuple(range(len(weights))), weights, unknown=3).scaled(factors)
    assert all(0 < weight < float("inf") for weight in plan.weights)
    assert plan.cumulative[-1] < float("inf")
    assert plan.draw(min(uniform, 1 - 2**-53)) in plan.goals
    assert plan.unknown == 3


NOTHING = Plan((), ())
EVEN = Plan(goals=(2, 5), weights=(1.0, 1.0))
ONLY_5 = Plan(goals=(5,), weights=(1.0,))
FAILED = Plan((0,), (1.0,), failed=True)


class Draws:
    """A generator that counts its draws."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def random(self):
        return self.numbers.pop(0)


def select(selector, *plans, fresh=None, draws=None, rows=None):
    generators = [Draws(*numbers) for numbers in draws or [()] * len(plans)]
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


class TestOnChange:
    def test_a_goal_is_kept_while_the_plan_contains_it(self):
        selector = GoalSelector(1, selection="sample", reselect="on_change")
        assert select(selector, EVEN, draws=[(0.9,)]) == [5]
        assert select(selector, EVEN) == [5]
        assert select(selector, Plan(goals=(2, 5), weights=(9.0, 0.1))) == [5]
        assert select(selector, Plan(goals=(1, 2), weights=(1.0, 1.0)), draws=[(0.9,)]) == [2]

    def test_a_fresh_episode_forgets_the_goal(self):
        selector = GoalSelector(2, selection="sample", reselect="on_change")
        select(selector, EVEN, EVEN, draws=[(0.9,), (0.9,)])
        assert select(selector, EVEN, EVEN, fresh=[True, False], draws=[(0.1,), ()]) == [2, 5]


class TestRows:
    def test_only_these_sub_environments_change(self):
        selector = GoalSelector(4, selection="argmax", reselect="every_step")
        select(selector, ONLY_5, NOTHING, FAILED, EVEN)
        assert select(selector, EVEN, ONLY_5, rows=[3, 1]) == [2, 5]
        assert selector.goals.tolist() == [5, 5, 0, 2]
        assert selector.guided.tolist() == [True, True, False, True]


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
