"""What a trajectory holds, refuses and says of itself."""

from __future__ import annotations

import pickle
from copy import deepcopy
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.trajectories.trajectory import Trajectory


def trajectory(**changes: Any) -> Trajectory:
    values: dict[str, Any] = {
        "observations": np.arange(6.0).reshape(3, 2),
        "actions": np.array([1, 0]),
        "rewards": [1.5, -0.5],
        "terminated": True,
        "truncated": False,
        "captions": ["a", "b", "c"],
        "transition_captions": ["up", "down"],
        "facts": [{"x": 1, "near": ("tree", "cow")}, {"x": 2.5, "near": ()}, {"x": None}],
        "seed": 3,
        "metadata": {"arm": "ppo", "sizes": (1, 2)},
    }
    return Trajectory(**{**values, **changes})


def test_it_has_one_observation_more_than_steps_and_sums_what_is_still_to_come() -> None:
    found = trajectory()
    assert len(found) == 2
    assert found.returns.tolist() == [1.0, -0.5]
    assert found.rewards.dtype == np.float64
    assert found.metadata == {"arm": "ppo", "sizes": [1, 2]}
    assert found.facts is not None
    assert found.facts[0] == {"x": 1, "near": ("tree", "cow")}


def test_it_cannot_be_changed() -> None:
    observations = np.zeros((3, 2))
    found = trajectory(observations={"a": observations})
    with pytest.raises(ValueError, match="read-only"):
        found.observations["a"][0, 0] = 1.0
    with pytest.raises(FrozenInstanceError):
        found.seed = 4  # type: ignore[misc]
    # The caller's own array stays as it was.
    observations[0, 0] = 1.0


@pytest.mark.parametrize("copy", [deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_is_equal(copy: Any) -> None:
    assert copy(trajectory()) == trajectory()


@pytest.mark.parametrize(
    "changes",
    [
        {"observations": np.zeros((3, 2))},
        {"observations": np.arange(6.0, dtype=np.float32).reshape(3, 2)},
        {"observations": (np.arange(6.0).reshape(3, 2),)},
        {"actions": np.array([1, 1])},
        {"rewards": [1.5, 0.5]},
        {"terminated": False},
        {"truncated": True},
        {"captions": None},
        {"transition_captions": ["up", "up"]},
        {"facts": None},
        {"seed": None},
        {"metadata": {}},
    ],
)
def test_it_differs_where_anything_does(changes: dict[str, Any]) -> None:
    assert trajectory(**changes) != trajectory()
    assert replace(trajectory(), **changes) == trajectory(**changes)
    assert trajectory() != "a trajectory"


def test_the_order_of_the_keys_of_an_observation_does_not_matter() -> None:
    one = {"b": np.zeros((3, 2)), "a": np.arange(3)}
    other = {"a": np.arange(3), "b": np.zeros((3, 2))}
    assert trajectory(observations=one) == trajectory(observations=other)
    assert list(trajectory(observations=one).observations) == ["a", "b"]


def test_numbers_of_numpy_become_plain_facts() -> None:
    facts = [{"x": np.int64(3), "dark": np.bool_(True), "near": ["cow"]}] * 3
    found = trajectory(facts=facts).facts
    assert found is not None
    assert found[0] == {"x": 3, "dark": True, "near": ("cow",)}
    assert [type(value) for value in found[0].values()] == [int, bool, tuple]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": []}, r"rewards must have shape \(T,\) with at least one step, got \(0,\)"),
        ({"rewards": [[1.0], [2.0]]}, r"got \(2, 1\)"),
        ({"rewards": [1.0]}, "observations must be plain arrays of 2 rows, got float64"),
        ({"actions": np.zeros(3)}, "actions must be plain arrays of 2 rows"),
        ({"actions": np.array([None, None])}, "actions must be plain arrays of 2 rows, got object"),
        ({"observations": {"a": np.float64(3)}}, r"got float64 of shape \(\)"),
        ({"observations": {}}, "observations must have at least one array"),
        ({"captions": ["a"]}, r"captions must be 3 texts, got \['a'\]"),
        ({"captions": "abc"}, "captions must be 3 texts, got 'abc'"),
        ({"transition_captions": [1, 2]}, r"transition_captions must be 2 texts, got \[1, 2\]"),
        ({"facts": [{}]}, r"facts must be 3 mappings, got \[{}\]"),
        ({"facts": [{"x": object}] * 3}, "the fact 'x' must be a bool, number, text"),
        ({"facts": [{"x": (1, 2)}] * 3}, r"tuple of texts or None, got \(1, 2\)"),
        ({"metadata": {"x": object()}}, "metadata must be a dict that JSON can hold"),
        ({"metadata": {1: 2}}, "its keys must be texts"),
        ({"metadata": None}, "metadata must be a dict that JSON can hold, got None"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        trajectory(**changes)
