"""Continuous actions bounded by the goal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers._bounding import Bounding, make_bounds
from llm_wrappers.wrappers._goals_below import forward_progress, gathered_stats, goal_source
from llm_wrappers.wrappers._scheduled_coin import ScheduledCoin
from llm_wrappers.wrappers._streams import depth_of, make_stream

__all__ = ["ActionBoundsWrapper"]

_ROW = np.array([0])


class ActionBoundsWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Clips continuous actions to the bounds that serve the current goal.

    The counterpart of `ActionMaskWrapper` for Box action spaces. SGRL (arXiv 2509.22008) prunes
    discrete actions and leaves continuous ones open: clipping to bounds is our choice. With
    probability xi, from a schedule over training progress, the bounds of the current goal apply.
    The action space stays as it is, so any algorithm can train; algorithms store the action they
    chose, and ``info["executed_action"]`` has the one that was executed.

    A vector version exists: `llm_wrappers.wrappers.vector.ActionBoundsWrapper`.

    Args:
        env: An environment with a Box action space.
        bounds: Goal to (low, high), numbers or arrays of the action's shape. A goal without an
            entry leaves the whole space open.
        schedule: xi: a number, a dict such as ``{"kind": "linear", "start": 1.0, "end": 0.0}``,
            or a callable of the training progress; with ``{"kind": "adaptive"}`` episodes without
            bounds are compared with the others, see `AdaptiveTrust`.

    Raises:
        InvalidOptionError: If bounds are not within the space, or of a goal that cannot occur.
        IncompatibleEnvironmentError: If no layer below has a goal, or the space is no Box.

    >>> import gymnasium as gym
    >>> from llm_wrappers import GoalObservationWrapper
    >>> env = GoalObservationWrapper(
    ...     gym.make("Pendulum-v1"), planner=lambda facts: [[("brake", 1.0)]], goals=["brake"]
    ... )
    >>> env = ActionBoundsWrapper(env, bounds={"brake": (-2.0, 0.0)})
    >>> observation, info = env.reset(seed=0)
    >>> *_, info = env.step([1.5])
    >>> info["executed_action"]
    array([0.], dtype=float32)
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        *,
        bounds: Mapping[str, Any],
        schedule: float | Mapping[str, Any] | Schedule = 1.0,
    ) -> None:
        self._coin = ScheduledCoin(schedule)
        bank = make_bounds(env, env.action_space, bounds)
        self._bounding = Bounding(1, bank=bank, coin=self._coin)
        goal_source(env, type(self).__name__)
        RecordConstructorArgs.__init__(self, bounds=bounds, schedule=schedule)
        gym.Wrapper.__init__(self, env)
        self._depth = depth_of(env, type(self).__name__)
        self._stream = make_stream(None, type(self).__name__, self._depth)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and draw whether the first goal's bounds apply."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._stream = make_stream(seed, type(self).__name__, self._depth)
        self._coin.begin(_ROW, [self._stream])
        self._draw()
        executed = np.zeros(self.action_space.shape or (), self.action_space.dtype)
        return observation, self._informed(info, 0.0, executed)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the environment with the action clipped to the current bounds.

        Raises:
            InvalidOptionError: If an action is not of the shape of the action space.
        """
        executed = self._bounding.clip(np.asarray(action)[None])[0]
        observation, reward, terminated, truncated, info = self.env.step(executed.copy())
        over = np.array([bool(terminated or truncated)])
        self._coin.learn([info.get("extrinsic_reward", reward)], _ROW, over)
        self._draw()
        info = self._informed(info, float(reward), executed)
        return observation, float(reward), bool(terminated), bool(truncated), info

    def action_bounds(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return fresh copies of the current low and high, each of the action's shape."""
        return self._bounding.low[0].copy(), self._bounding.high[0].copy()

    def set_progress(self, progress: float) -> None:
        """Set the training progress, in [0, 1], from which the schedule gives xi."""
        self._coin.set_progress(progress)
        forward_progress(self.env, progress)

    def stats(self) -> dict[str, Any]:
        """Return counters and xi."""
        return {**self._bounding.counts, **self._coin.stats()}

    def all_stats(self) -> dict[str, dict[str, Any]]:
        """Return the counters of this wrapper and of those below, by class name."""
        return gathered_stats(self)

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode: the progress and the counters."""
        return {**self._coin.state_dict(), "counts": dict(self._bounding.counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._coin.load_state_dict(state)
        self._bounding.counts.update(state["counts"])

    def _draw(self) -> None:
        self._bounding.draw([self.env.get_wrapper_attr("current_goal")()], [self._stream])

    def _informed(
        self, info: Mapping[str, Any], reward: float, executed: NDArray[Any]
    ) -> dict[str, Any]:
        return {
            "extrinsic_reward": reward,
            # A layer below may have executed yet another action.
            "executed_action": executed,
            **info,
            "bounds_applied": bool(self._bounding.applied[0]),
        }
