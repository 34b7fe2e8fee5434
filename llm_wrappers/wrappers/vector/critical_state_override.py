"""Advised actions and rewards at the critical states of each sub-environment (ULTRA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.guidance.critical_states import CriticalStates
from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers._goals_below import find_below, forward_progress, gathered_stats
from llm_wrappers.wrappers._overriding import Overriding, is_maskable
from llm_wrappers.wrappers._streams import depth_of
from llm_wrappers.wrappers._taken import Taken
from llm_wrappers.wrappers._trust_evidence import paid_by_the_environment
from llm_wrappers.wrappers.vector._episodes import Episodes, take_rows, with_column

__all__ = ["CriticalStateOverrideWrapper"]


class CriticalStateOverrideWrapper(gym.vector.VectorWrapper):  # generic only from gymnasium 1.4
    """Executes advised actions, and adds rewards, in critical states of each sub-environment.

    The twin of `llm_wrappers.CriticalStateOverrideWrapper`, whose documentation holds:
    sub-environment i, seeded with ``seed + i``, gets the same advice. The table is shared. Works in
    every autoreset mode; the step that only shows a new episode is no step in a critical state.

    Args:
        env: The vector environment.
        critical_states: A table, ``"file:PATH"`` or ``"none"``.
        mode: ``"RA"``, ``"A"`` or ``"R"``.
        alpha: The size of the added rewards, at least 0.
        schedule: A coefficient on alpha.
        probability: With which probability the advice is followed.
        reward: ``"agreement"`` or ``"state"``.
        advice: ``"execute"`` or ``"mask"``.
        tolerance: How far an action of a Box may be from the advice and still agree with it.
        training: False switches all of it off.

    Raises:
        InvalidOptionError: If an option is outside what is documented, or an action of the table is
            not of the action space.
        UnknownNameError: If the name is not known.
        GuidanceFileError: If the file is missing or holds no table.
        IncompatibleEnvironmentError: If the table has states of another shape, or actions of this
            space cannot be advised.

    >>> import gymnasium as gym
    >>> from llm_wrappers.guidance.critical_state import CriticalState
    >>> from llm_wrappers.guidance.critical_states import CriticalStates
    >>> table = CriticalStates([CriticalState(0, 2)], key="exact")
    >>> envs = gym.make_vec("FrozenLake-v1", 2, vectorization_mode="sync", is_slippery=False)
    >>> envs = CriticalStateOverrideWrapper(envs, critical_states=table, probability=1.0)
    >>> observations, infos = envs.reset(seed=0)
    >>> observations, rewards, terminated, truncated, infos = envs.step(np.array([2, 3]))
    >>> rewards.tolist(), infos["executed_action"].tolist()
    ([0.5, -0.5], [2, 2])
    """

    batched_methods = frozenset({"action_masks"})

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any],
        *,
        critical_states: str | CriticalStates,
        mode: str = "RA",
        alpha: float = 0.5,
        schedule: float | Mapping[str, Any] | Schedule = 1.0,
        probability: float | Mapping[str, Any] | Schedule = 0.5,
        reward: str = "agreement",
        advice: str = "execute",
        tolerance: float = 0.1,
        training: bool = True,
    ) -> None:
        super().__init__(env)
        self._overriding = Overriding(
            env.num_envs,
            critical_states=critical_states,
            observation_space=env.single_observation_space,
            action_space=env.single_action_space,
            mode=mode,
            alpha=alpha,
            schedule=schedule,
            probability=probability,
            reward=reward,
            advice=advice,
            tolerance=tolerance,
            training=training,
        )
        name = type(self).__name__
        maskable = is_maskable(env.single_action_space)
        self._inner_masks = find_below(env, "action_masks") if maskable else None
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
        self._overriding.begin(self._episodes.streams, fresh)
        self._look(observations, fresh)
        nothing = Taken.nothing(self.num_envs, self._overriding.space)
        return observations, self._informed(infos, np.zeros(self.num_envs), nothing, fresh)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all sub-environments, in critical states as the table advises.

        Raises:
            InvalidOptionError: If the actions are not of the shape of the action space.
        """
        stepped = ~self._episodes.waiting()
        taken = self._overriding.act(actions, stepped)
        executed = taken.executed.copy() if taken.overridden.any() else actions
        observations, rewards, terminated, truncated, infos = self.env.step(executed)
        ended = np.asarray(terminated | truncated, dtype=np.bool_)
        fresh = self._episodes.advance(ended)
        pays = not self._overriding.is_identity
        paid = paid_by_the_environment(infos, rewards, ended)
        self._overriding.learn(paid, stepped, ended & stepped)
        self._overriding.begin(self._episodes.streams, fresh)
        infos = self._stepped_infos(infos, rewards, taken, fresh)
        # The last state of an episode is acted in by nobody.
        self._overriding.forget(ended)
        self._look(observations, ~ended | fresh)
        if pays:
            rewards = np.asarray(rewards, dtype=np.float64) + taken.implicit
        return observations, rewards, terminated, truncated, infos

    def action_masks(self) -> NDArray[np.bool_]:
        """Return fresh copies of the current masks, shape (n, actions), True where open."""
        return self._overriding.masks()

    def set_progress(self, progress: float) -> None:
        """Set the training progress, in [0, 1], from which the schedules give coefficients."""
        self._overriding.set_progress(progress)
        forward_progress(self.env, progress)

    def set_training(self, training: bool) -> None:
        """Switch advice and rewards on, from the next states, or off at once.

        Raises:
            InvalidOptionError: If it is no bool.
        """
        self._overriding.set_training(training)

    def stats(self) -> dict[str, Any]:
        """Return counters of steps, hits, overrides, agreements, skipped advice and conflicts."""
        return self._overriding.stats()

    def all_stats(self) -> dict[str, dict[str, Any]]:
        """Return the counters of this wrapper and of those below, by class name."""
        return gathered_stats(self)

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode: progress and counters."""
        return self._overriding.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it is the state of something else.
        """
        self._overriding.load_state_dict(state)

    def _look(self, observations: Any, acting: NDArray[np.bool_]) -> None:
        masks = None if self._inner_masks is None else np.asarray(self._inner_masks())
        self._overriding.see(masks)
        rows = np.flatnonzero(acting)
        self._overriding.look(take_rows(observations, rows), self._episodes.streams, rows)

    def _stepped_infos(
        self,
        infos: Mapping[str, Any],
        rewards: NDArray[Any],
        taken: Taken,
        fresh: NDArray[np.bool_],
    ) -> dict[str, Any]:
        everywhere = np.ones(self.num_envs, dtype=np.bool_)
        shown = taken.without(fresh, self._overriding.space)
        if not (self._episodes.same_step and fresh.any()):
            return self._informed(infos, rewards, shown, everywhere)
        final = self._informed(infos["final_info"], rewards, taken, fresh)
        first = self._informed(infos, np.where(fresh, 0.0, rewards), shown, everywhere)
        return {**first, "final_info": final}

    def _informed(
        self,
        infos: Mapping[str, Any],
        rewards: NDArray[Any],
        taken: Taken,
        present: NDArray[np.bool_],
    ) -> dict[str, Any]:
        informed = dict(infos)
        paid = np.asarray(rewards, dtype=np.float64)
        for key, values in (("extrinsic_reward", paid), ("executed_action", taken.executed)):
            if key not in informed:
                informed = with_column(informed, key, values, present)
        for key, values in (
            ("agent_action", taken.agent),
            ("overridden", taken.overridden),
            ("critical", taken.critical),
            ("implicit_reward", taken.implicit),
        ):
            informed = with_column(informed, key, values, present)
        return informed
