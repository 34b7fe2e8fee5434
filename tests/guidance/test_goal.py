"""A goal: a short text with a priority."""

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_wrappers import Goal
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.goal import is_weight

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


def test_the_weight_is_one_unless_given():
    assert Goal("collect wood") == Goal("collect wood", 1.0)


def test_goals_are_values():
    goal = Goal("collect wood", 2)
    assert {goal: "here"}[pickle.loads(pickle.dumps(goal))] == "here"
    with pytest.raises(FrozenInstanceError):
        goal.weight = 3


@examples
@given(st.floats(min_value=0, allow_infinity=False, allow_nan=False) | st.integers(0, 2**1023))
def test_every_weight_that_is_one_is_a_finite_float(weight):
    assert is_weight(weight)
    assert 0 <= float(weight) < float("inf")
