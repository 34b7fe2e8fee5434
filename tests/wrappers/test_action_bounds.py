"""What each option of the bounds wrapper does, and which actions are executed when."""

from __future__ import annotations

import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from wrapper_doubles import BOUNDS, BOX, GOALS, always, counting_env, stable_id, with_goal

from llm_wrappers.errors import (
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.testing import make_scripted_env
from llm_wrappers.wrappers import ActionBoundsWrapper, vector

LOWEST, HIGHEST = np.array([-2.0, -2.0], np.float32), np.array([2.0, 2.0], np.float32)


def bounded(
    goal: str = "left",
    *,
    bounds: Any = BOUNDS,
    env: gym.Env[Any, Any] | None = None,
    **options: Any,
) -> ActionBoundsWrapper:
    """Return an environment that always has this goal, with its bounds."""
    base = counting_env(1_000, action_space=BOX) if env is None else env
    return ActionBoundsWrapper(with_goal(base, always(goal)), bounds=bounds, **options)


def executed(env: ActionBoundsWrapper, action: Any) -> list[float]:
    """Return what the environment below received."""
    env.step(np.array(action, np.float32))
    received: list[float] = env.unwrapped.actions[-1].tolist()  # type: ignore[attr-defined]
    return received


# --- one test per option ---


@pytest.mark.parametrize(
    ("goal", "expected"), [("left", [-1.0, 0.0]), ("right", [0.0, 1.5]), ("wait", [-1.0, 1.5])]
)
def test_bounds_clip_the_action_to_those_of_the_goal(goal: str, expected: list[float]) -> None:
    env = bounded(goal)
    env.reset(seed=0)
    assert executed(env, [-1.0, 1.5]) == expected


def test_bounds_may_be_numbers_or_one_per_part() -> None:
    env = bounded("right")
    env.reset(seed=0)
    low, high = env.action_bounds()
    assert (low.tolist(), high.tolist()) == ([0.0, 0.0], [1.0, 2.0])
    assert executed(env, [2.0, 2.0]) == [1.0, 2.0]


def test_action_bounds_are_copies() -> None:
    env = bounded()
    env.reset(seed=0)
    for part in env.action_bounds():
        part[:] = 0.5
    assert executed(env, [-1.0, -1.0]) == [-1.0, -1.0]


def test_info_tells_what_was_executed_and_whether_bounds_apply_now() -> None:
    env = bounded()
    _, info = env.reset(seed=0)
    assert (info["bounds_applied"], info["executed_action"].tolist()) == (True, [0.0, 0.0])
    action = np.array([1.0, -1.0], np.float32)
    _, reward, _, _, info = env.step(action)
    assert info["executed_action"].tolist() == [0.0, -1.0]
    assert action.tolist() == [1.0, -1.0]
    assert (reward, info["extrinsic_reward"]) == (1.0, 1.0)
    assert env.stats()["clipped_actions"] == 1
    env.step(np.array([-1.0, -1.0], np.float32))
    assert env.stats()["clipped_actions"] == 1


def test_an_integer_box_stays_one() -> None:
    space = gym.spaces.Box(0, 10, (2,), np.int64)
    base = counting_env(1_000, action_space=space)
    env = bounded(env=base, bounds={"left": (0, 4)})
    env.reset(seed=0)
    env.step(np.array([3, 9]))
    assert base.actions[-1].tolist() == [3, 4]
    assert base.actions[-1] in space


def test_a_list_is_an_action_too() -> None:
    env = bounded()
    env.reset(seed=0)
    *_, info = env.step([1.0, -0.5])
    assert info["executed_action"].tolist() == [0.0, -0.5]


# --- what the user got wrong ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bounds": [(-1, 1)]}, "expected a dict of goal -> (low, high)"),
        ({"bounds": {"fly": (-1, 1)}}, "vocabulary ['left', 'right', 'wait'], got ['fly']"),
        ({"bounds": {"left": 1.0}}, "must be (low, high) of shape (2,), got 1.0"),
        ({"bounds": {"left": ([0, 0, 0], 1)}}, "must be (low, high) of shape (2,)"),
        ({"bounds": {"left": (1.0, -1.0)}}, "must be in order and within"),
        ({"bounds": {"left": (0.0, float("nan"))}}, "must be in order and within"),
        ({"schedule": 1.5}, "in [0, 1], got 1.5"),
    ],
    ids=stable_id,
)
def test_a_wrong_option_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    def make() -> Any:
        return make_scripted_env(action_space=BOX)

    vector_goal = vector.GoalObservationWrapper(
        gym.vector.SyncVectorEnv([make]), planner=always("left"), goals=GOALS
    )
    for env, wrapper in (
        (with_goal(make()), ActionBoundsWrapper),
        (vector_goal, vector.ActionBoundsWrapper),
    ):
        with pytest.raises(InvalidOptionError, match=re.escape(message)):
            wrapper(env, **{"bounds": BOUNDS, **options})


def test_actions_that_are_no_box_are_refused() -> None:
    with pytest.raises(IncompatibleEnvironmentError, match="use ActionMaskWrapper for it"):
        ActionBoundsWrapper(with_goal(), bounds={})


@pytest.mark.parametrize(
    "action", [[0.0], [0.0, 0.0, 0.0], [[0.0, 0.0]], "left", None], ids=stable_id
)
def test_an_action_of_another_shape_is_refused(action: Any) -> None:
    env = bounded()
    env.reset(seed=0)
    with pytest.raises(InvalidOptionError, match=re.escape(f"expected an action in {BOX}, got")):
        env.step(action)


# --- goals and failures ---


def test_bounds_are_of_the_goal_that_is_shown() -> None:
    base = counting_env(1_000, action_space=BOX)
    env = ActionBoundsWrapper(with_goal(base, "random", reselect="every_step"), bounds=BOUNDS)
    _, info = env.reset(seed=0)
    seen = set()
    for _ in range(50):
        goal = info["goal_text"]
        low, high = env.action_bounds()
        expected = BOUNDS.get(goal, (-2.0, 2.0))
        np.testing.assert_array_equal(low, np.broadcast_to(expected[0], 2))
        np.testing.assert_array_equal(high, np.broadcast_to(expected[1], 2))
        assert info["bounds_applied"] is (goal != "wait")
        seen.add(goal)
        *_, info = env.step(LOWEST)
    assert seen == set(GOALS)


def test_two_bounds_clip_one_after_the_other() -> None:
    inner = bounded(bounds={"left": (-1.0, 1.0)})
    env = ActionBoundsWrapper(inner, bounds={"left": (0.0, 2.0)})
    env.reset(seed=0)
    assert executed(env, [-2.0, 2.0]) == [0.0, 1.0]


# --- progress, state and stacks ---
