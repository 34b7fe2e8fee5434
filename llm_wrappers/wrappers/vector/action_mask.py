"""Actions pruned by the goal, in each sub-environment (SGRL)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers._goals_below import (
    find_below,
    forward_progress,
    gathered_stats,
    goal_source,
)
from llm_wrappers.wrappers._masking import (
    Masking,
    checked_enforce,
    checked_penalty,
    scheduled_coin,
)
from llm_wrappers.wrappers._streams import depth_of
from llm_wrappers.wrappers._trust_evidence import paid_by_the_environment
from llm_wrappers.wrappers.action_mask import make_bank
from llm_wrappers.wrappers.vector._episodes import Episodes, final_goals, with_column

__all__ = ["ActionMaskWrapper"]


class ActionMaskWrapper(gym.vector.VectorWrapper):  # generic only from gymnasium 1.4
    """Leaves only the actions open that serve the current goal of each sub-environment.

    The twin of `llm_wrappers.ActionMaskWrapper`, whose documentation holds: sub-environment i,
    seeded with ``seed + i``, has the same masks. `action_masks` returns those of all
    sub-environments; through `llm_wrappers.sb3.as_vec_env` MaskablePPO finds them. Works in every
    autoreset mode.

    Args:
        env: A vector environment with a goal, usually from `vector.GoalObservationWrapper`.
        masks: Goal to open actions, or a name.
        schedule: xi, the probability that a goal's mask applies.
        enforce: ``"mask"``, ``"resample"`` or ``"penalty"``.
        penalty: What ``enforce="penalty"`` takes off the reward.

    Raises:
        InvalidOptionError: If an option or a mask is not what is documented.
        UnknownNameError: If a name is not known.
        GuidanceFileError: If a file is missing or holds no masks.
        IncompatibleEnvironmentError: If no layer below has a goal, or the actions cannot be masked.

    >>> import gymnasium as gym
    >>> from llm_wrappers.wrappers import vector
    >>> envs = vector.GoalObservationWrapper(
    ...     gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"),
    ...     planner=lambda facts: [[("go left", 1.0)] for _ in facts], goals=["go left"],
    ... )
    >>> envs = ActionMaskWrapper(envs, masks={"go left": [0]})
    >>> observations, infos = envs.reset(seed=0)
    >>> envs.action_masks().tolist()
    [[True, False], [True, False]]
    """

    batched_methods = frozenset({"action_masks"})

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any],
        *,
        masks: str | Mapping[str, Any],
        schedule: float | Mapping[str, Any] | Schedule = 1.0,
        enforce: str = "mask",
        penalty: float = 0.1,
    ) -> None:
        super().__init__(env)
        name = type(self).__name__
        self._enforce = checked_enforce(enforce)
        self._penalty = checked_penalty(penalty)
        self._coin = scheduled_coin(schedule, enforce, n=env.num_envs)
        bank = make_bank(env, env.single_action_space, masks)
        self._masking = Masking(env.num_envs, bank=bank, coin=self._coin)
        self._goals = goal_source(env, name)
        self._final_goals = find_below(env, "final_goal")
        self._inner_masks = find_below(env, "action_masks")
        is_discrete = isinstance(env.single_action_space, gym.spaces.Discrete)
        self._executed_type = np.dtype(int) if is_discrete else env.single_action_space.dtype
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
        self._coin.begin(np.flatnonzero(fresh), self._episodes.streams)
        self._draw(np.flatnonzero(fresh))
        every_action_open = np.ones(self.num_envs, dtype=np.bool_)
        rewards = np.zeros(self.num_envs)
        return observations, self._informed(infos, rewards, every_action_open, None, fresh)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all sub-environments, with the actions as `enforce` says, and draw the next masks.

        Raises:
            InvalidOptionError: If an action is outside the action space.
        """
        waiting = self._episodes.waiting()
        allowed = self._masking.allowed(actions, ignored=waiting)
        executed = self._executed(actions, allowed)
        observations, rewards, terminated, truncated, infos = self.env.step(executed)
        rewards = np.array(rewards, dtype=np.float64)
        ended = np.asarray(terminated | truncated, dtype=np.bool_)
        paid = paid_by_the_environment(infos, rewards, ended)
        self._coin.learn(paid, np.flatnonzero(~waiting), ended)
        fresh = self._episodes.advance(ended)
        informed = self._stepped_infos(infos, rewards, allowed, executed, fresh)
        if self._enforce == "penalty":
            rewards = rewards - self._penalty * ~allowed
        return observations, rewards, terminated, truncated, informed

    def action_masks(self) -> NDArray[np.bool_]:
        """Return fresh copies of the current masks, shape (n, actions), True where open."""
        return self._masking.masks.copy()

    def set_progress(self, progress: float) -> None:
        """Set the training progress, in [0, 1], from which the schedule gives xi."""
        self._coin.set_progress(progress)
        forward_progress(self.env, progress)

    def stats(self) -> dict[str, Any]:
        """Return counters, xi, the share of masked states and of open actions."""
        return self._masking.stats()

    def all_stats(self) -> dict[str, dict[str, Any]]:
        """Return the counters of this wrapper and of those below, by class name."""
        return gathered_stats(self)

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode: the progress and the counters."""
        return {**self._coin.state_dict(), "counts": dict(self._masking.counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._coin.load_state_dict(state)
        self._masking.counts.update(state["counts"])

    def _draw(self, rows: NDArray[np.intp] | None = None) -> None:
        goals = self._goals()
        inner = None if self._inner_masks is None else np.asarray(self._inner_masks())
        streams = self._episodes.streams
        if rows is not None:
            goals = [goals[row] for row in rows]
            inner = None if inner is None else inner[rows]
            streams = [streams[row] for row in rows]
        self._masking.draw(goals, inner, streams, rows)

    def _executed(self, actions: Any, allowed: NDArray[np.bool_]) -> Any:
        if self._enforce != "resample" or allowed.all():
            return actions
        executed = np.array(actions)
        for row in np.flatnonzero(~allowed):
            stream = self._episodes.streams[row]
            executed[row] = self._masking.legal_action(int(row), actions[row], stream)
        return executed

    def _stepped_infos(
        self,
        infos: Mapping[str, Any],
        rewards: NDArray[Any],
        allowed: NDArray[np.bool_],
        executed: Any,
        fresh: NDArray[np.bool_],
    ) -> dict[str, Any]:
        everywhere = np.ones(self.num_envs, dtype=np.bool_)
        if not (self._episodes.same_step and fresh.any()):
            self._coin.begin(np.flatnonzero(fresh), self._episodes.streams)
            self._draw()
            allowed = allowed | fresh
            return self._informed(infos, rewards, allowed, self._first(executed, fresh), everywhere)
        # A single environment draws for its last state too; so do these, to stay in step.
        self._draw_final(infos, np.flatnonzero(fresh))
        final = self._informed(infos["final_info"], rewards, allowed, executed, fresh)
        self._coin.begin(np.flatnonzero(fresh), self._episodes.streams)
        self._draw()
        shown = self._informed(
            infos,
            np.where(fresh, 0.0, rewards),
            allowed | fresh,
            self._first(executed, fresh),
            everywhere,
        )
        return {**shown, "final_info": final}

    def _draw_final(self, infos: Mapping[str, Any], rows: NDArray[np.intp]) -> None:
        streams = [self._episodes.streams[row] for row in rows]
        self._masking.draw(final_goals(self._final_goals, infos, rows), None, streams, rows)

    def _first(self, executed: Any, fresh: NDArray[np.bool_]) -> Any:
        """Return the executed actions, -1 where the step only showed a new episode."""
        mask = fresh.reshape(-1, *[1] * (np.ndim(executed) - 1))
        return np.where(mask, -1, executed)

    def _informed(
        self,
        infos: Mapping[str, Any],
        rewards: NDArray[Any],
        allowed: NDArray[np.bool_],
        executed: Any,
        present: NDArray[np.bool_],
    ) -> dict[str, Any]:
        informed = dict(infos)
        if "extrinsic_reward" not in informed:
            informed = with_column(informed, "extrinsic_reward", rewards, present)
        informed = with_column(informed, "mask_applied", self._masking.applied, present)
        informed = with_column(informed, "action_was_open", allowed, present)
        # A layer below may have executed yet another action.
        if self._enforce == "resample" and "executed_action" not in infos:
            shape = (self.num_envs, *(self.single_action_space.shape or ()))
            value = np.full(shape, -1 if executed is None else executed, self._executed_type)
            informed = with_column(informed, "executed_action", value, present)
        return informed
