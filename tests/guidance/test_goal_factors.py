"""Factors multiply the weights of plans, those remembered too, and cost nothing where all are 1."""

from __future__ import annotations

import copy
import json
import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.errors import GuidanceWarning, InvalidOptionError
from llm_wrappers.guidance.ablations import NoPlanner
from llm_wrappers.guidance.plan import Plan
from llm_wrappers.guidance.planning import Planning

GOALS = ("collect wood", "eat cow", "wake up")
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
    return Planning(planner or Counting(), goals=GOALS, fallback="wake up")


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


def test_drawing_follows_the_factors() -> None:
    asked = make()
    asked.set_factors({"collect wood": 0.5, "eat cow": 3.0})
    (plan,) = asked.plans(rows(0))
    generator = np.random.default_rng(0)
    drawn = Counter(plan.draw(generator.random()) for _ in range(4000))
    assert drawn[1] / 4000 == pytest.approx(0.75, abs=0.03)


def test_factors_of_one_build_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = make()
    asked.set_factors(dict.fromkeys(GOALS, 1))
    first = asked.plans(rows(0, 1))

    def refuse(*_: Any) -> Any:
        raise AssertionError("a plan was multiplied")

    monkeypatch.setattr(Plan, "scaled", refuse)
    assert all(one is other for one, other in zip(first, asked.plans(rows(0, 1)), strict=True))


def test_factors_can_be_read_back_and_are_a_copy() -> None:
    asked = make()
    assert asked.factors == {"collect wood": 1.0, "eat cow": 1.0, "wake up": 1.0}
    asked.set_factors({"eat cow": 2})
    asked.factors["eat cow"] = 9.0
    assert asked.factors == {"collect wood": 1.0, "eat cow": 2.0, "wake up": 1.0}


def test_a_failed_answer_and_an_empty_one_stay_as_they_are() -> None:
    class Broken(Counting):
        def plan(self, facts: Any) -> Any:
            raise RuntimeError("no plan")

    asked = make(Broken())
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
        ({**dict.fromkeys(GOALS, 1.0), "fly": 1.0}, "got one of .*'fly'"),
        ({**dict.fromkeys(GOALS, 1.0), "eat cow": 0}, "finite and > 0, got 0"),
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


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_copies_keep_their_own_factors(duplicate: Any, factor: float) -> None:
    asked = make()
    asked.plans(rows(0))
    asked.set_factors({"eat cow": factor})
    other = duplicate(asked)
    other.set_factors({"eat cow": 5.0})
    assert asked.plans(rows(0))[0].weights == (2.0, factor)
    assert other.plans(rows(0))[0].weights == (2.0, 5.0)
    assert other.planner.asked == 1


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


@given(st.lists(st.floats(0.1, 10), min_size=3, max_size=3), st.floats(0.1, 10))
def test_the_same_factor_everywhere_changes_no_choice(weights: Any, factor: float) -> None:
    plan = Plan((0, 1, 2), tuple(weights))
    scaled = plan.scaled([2.0 ** round(factor)] * 3)  # exact in floats
    assert scaled.best == plan.best
    for uniform in (0.0, 0.2, 0.5, 0.9):
        assert scaled.draw(uniform) == plan.draw(uniform)
