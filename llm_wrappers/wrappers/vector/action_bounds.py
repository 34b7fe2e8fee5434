"""Continuous actions bounded by the goal, in each sub-environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers._bounding import Bounding, make_bounds
from llm_wrappers.wrappers._goals_below import (
    find_below,
    forward_progress,
    gathered_stats,
    goal_source,
)
from llm_wrappers.wrappers._scheduled_coin import ScheduledCoin
from llm_wrappers.wrappers._streams import depth_of
from llm_wrappers.wrappers._trust_evidence import paid_by_the_environment
from llm_wrappers.wrappers.vector._episodes import Episodes, final_goals, with_column

__all__ = ["ActionBoundsWrapper"]


class ActionBoundsWrapper(gym.vector.VectorWrapper):  # generic only from gymnasium 1.4
    """Clips the continuous actions of each sub-environment to the bounds of its current goal.

    The twin of `llm_wrappers.wrappers.ActionBoundsWrapper`, whose documentation holds:
    sub-environment i, seeded with ``seed + i``, has the same bounds.

    Args:
        env: A vector environment with a goal and a Box action space.
        bounds: Goal to (low, high).
        schedule: xi, the probability that a goal's bounds apply.

    Raises:
        InvalidOptionError: If bounds are not within the space, or of a goal that cannot occur.
        IncompatibleEnvironmentError: If no layer below has a goal, or the space is no Box.

    >>> import gymnasium as gym
    >>> from llm_wrappers.wrappers import vector
    >>> envs = vector.GoalObservationWrapper(
    ...     gym.make_vec("Pendulum-v1", num_envs=2),
    ...     planner=lambda facts: [[("brake", 1.0)] for _ in facts], goals=["brake"],
    ... )
    >>> envs = ActionBoundsWrapper(envs, bounds={"brake": (-2.0, 0.0)})
    >>> observations, infos = envs.reset(seed=0)
    >>> *_, infos = envs.step([[1.5], [-1.5]])
    >>> infos["executed_action"].tolist()
    [[0.0], [-1.5]]
    """

    batched_methods: frozenset[str] = frozenset()

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any],
        *,
        bounds: Mapping[str, Any],
        schedule: float | Mapping[str, Any] | Schedule = 1.0,
    ) -> None:
        super().__init__(env)
        name = type(self).__name__
        self._coin = ScheduledCoin(schedule, env.num_envs)
        bank = make_bounds(env, env.single_action_space, bounds)
        self._bounding = Bounding(env.num_envs, bank=bank, coin=self._coin)
        self._goals = goal_source(env, name)
        self._final_goals = find_below(env, "final_goal")
        self._episodes = Episodes(env, owner=name, depth=depth_of(env, name))

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all sub-environments, or those of ``options["reset_mask"]``."""
        fresh = self._episodes.begin(seed, options)
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        rows = np.flatnonzero(fresh)
        goals, streams = self._goals(), self._episodes.streams
        self._coin.begin(rows, streams)
        self._bounding.draw([goals[i] for i in rows], [streams[i] for i in rows], rows)
        executed = np.zeros_like(self._bounding.low)
        return observations, self._informed(infos, np.zeros(self.num_envs), executed, fresh)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all sub-environments with the actions clipped to the current bounds.

        Raises:
            InvalidOptionError: If an action is not of the shape of the action space.
        """
        waiting = self._episodes.waiting()
        executed = self._bounding.clip(np.asarray(actions), ignored=waiting)
        observations, rewards, terminated, truncated, infos = self.env.step(executed.copy())
        rewards = np.array(rewards, dtype=np.float64)
        ended = np.asarray(terminated | truncated, dtype=np.bool_)
        paid = paid_by_the_environment(infos, rewards, ended)
        self._coin.learn(paid, np.flatnonzero(~waiting), ended)
        fresh = self._episodes.advance(ended)
        final: dict[str, Any] = {}
        if self._episodes.same_step and fresh.any():
            rows = np.flatnonzero(fresh)
            streams = [self._episodes.streams[row] for row in rows]
            self._bounding.draw(final_goals(self._final_goals, infos, rows), streams, rows)
            final = {"final_info": self._informed(infos["final_info"], rewards, executed, fresh)}
        self._coin.begin(np.flatnonzero(fresh), self._episodes.streams)
        self._bounding.draw(self._goals(), self._episodes.streams)
        # A step that shows the first state of an episode executed nothing in it.
        executed = np.where(fresh.reshape(-1, *[1] * (executed.ndim - 1)), 0, executed)
        shown = np.where(fresh, 0.0, rewards)
        everywhere = np.ones(self.num_envs, dtype=np.bool_)
        informed = {**self._informed(infos, shown, executed, everywhere), **final}
        return observations, rewards, terminated, truncated, informed

    def action_bounds(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return fresh copies of the current low and high, each of shape (n, ...)."""
        return self._bounding.low.copy(), self._bounding.high.copy()

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

    def _informed(
        self,
        infos: Mapping[str, Any],
        rewards: NDArray[Any],
        executed: NDArray[Any],
        present: NDArray[np.bool_],
    ) -> dict[str, Any]:
        informed = dict(infos)
        if "extrinsic_reward" not in informed:
            informed = with_column(informed, "extrinsic_reward", rewards, present)
        informed = with_column(informed, "bounds_applied", self._bounding.applied, present)
        if "executed_action" in informed:
            # A layer below may have executed yet another action.
            return informed
        return with_column(informed, "executed_action", executed, present)
