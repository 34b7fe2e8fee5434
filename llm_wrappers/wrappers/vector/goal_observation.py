"""A goal in the observation of each sub-environment (SGRL)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.embeddings import Encoder
from llm_wrappers.guidance.planner import Planner, PlannerFunction
from llm_wrappers.wrappers._goal_channel import GoalChannel
from llm_wrappers.wrappers._goals_below import gathered_stats
from llm_wrappers.wrappers._streams import depth_of
from llm_wrappers.wrappers.goal_observation import goal_observation_space
from llm_wrappers.wrappers.vector._episodes import (
    Episodes,
    final_observations,
    take_rows,
    with_column,
)

__all__ = ["GoalObservationWrapper"]


class GoalObservationWrapper(gym.vector.VectorWrapper):  # generic only from gymnasium 1.4
    """Adds the goal that a planner sets for the current state to each sub-environment.

    The twin of `llm_wrappers.GoalObservationWrapper`, whose documentation holds: sub-environment
    i, seeded with ``seed + i``, has the same goals. The planner is asked for all sub-environments
    at once. Works in every autoreset mode.

    Args:
        env: The vector environment.
        planner: A planner, a function or a name.
        goals: The goal vocabulary; None for the one the environment describes.
        captioner: Turns observations into facts; None for the environment's own, or a generic one.
        encoder: ``"one-hot"``, ``"hashing"``, or an object with ``encode(texts)``.
        selection: ``"sample"`` or ``"argmax"``.
        reselect: ``"on_change"`` or ``"every_step"``.
        fallback_goal: The goal shown where the planner fails; None for the first one.
        key: The key of the goal in the observation.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If a name is not known.
        GuidanceFileError: If a file is missing or is no planner.

    >>> import gymnasium as gym
    >>> def planner(facts):
    ...     return [[("go left" if row["pole_angle_deg"] < 0 else "go right", 1)] for row in facts]
    >>> envs = GoalObservationWrapper(
    ...     gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"),
    ...     planner=planner, goals=["go left", "go right"],
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> observations["goal"].shape, infos["goal"].tolist()
    ((2, 2), ['go left', 'go left'])
    """

    batched_methods = frozenset({"current_goal"})

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any],
        *,
        planner: str | Planner | PlannerFunction,
        goals: Sequence[str] | None = None,
        captioner: Captioner | None = None,
        encoder: str | Encoder = "one-hot",
        selection: str = "sample",
        reselect: str = "on_change",
        fallback_goal: str | None = None,
        key: str = "goal",
    ) -> None:
        super().__init__(env)
        self._channel = GoalChannel(
            env.num_envs,
            captioner=resolve_captioner(env, captioner),
            planner=planner,
            goals=goals,
            encoder=encoder,
            selection=selection,
            reselect=reselect,
            fallback_goal=fallback_goal,
        )
        self._key = key
        self._is_dict = isinstance(env.single_observation_space, gym.spaces.Dict)
        self.single_observation_space = goal_observation_space(
            env.single_observation_space, key, self._channel.space
        )
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        name = type(self).__name__
        self._episodes = Episodes(env, owner=name, depth=depth_of(env, name))
        self._final_goals: list[str | None] = [None] * env.num_envs

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reset all sub-environments, or those of ``options["reset_mask"]``."""
        fresh = self._episodes.begin(seed, options)
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        rows = np.flatnonzero(fresh)
        # Sub-environments that were not reset keep their goals: their states have not changed.
        self._choose(take_rows(observations, rows), take_rows(infos, rows), rows, fresh=True)
        infos = self._with_goals(infos, np.zeros(self.num_envs), fresh)
        return self._join(observations), infos

    def step(self, actions: Any) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]:
        """Step all sub-environments and choose the goals for the states they are in now."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        rewards = np.asarray(rewards, dtype=np.float64)
        fresh = self._episodes.advance(terminated | truncated)
        shown_rewards, final = rewards, {}
        if self._episodes.same_step and fresh.any():
            final = self._final(infos, rewards, np.flatnonzero(fresh))
            shown_rewards = np.where(fresh, 0.0, rewards)
        self._channel.update(observations, infos, streams=self._episodes.streams, fresh=fresh)
        everywhere = np.ones(self.num_envs, dtype=np.bool_)
        infos = {**self._with_goals(infos, shown_rewards, everywhere), **final}
        return self._join(observations), rewards, terminated, truncated, infos

    def current_goal(self) -> list[str | None]:
        """Return the goals that guide the current states, None without one or without guidance."""
        return self._channel.guiding()

    def final_goal(self) -> list[str | None]:
        """Return what `current_goal` was for the last states of the episodes that ended.

        Only with autoreset in the same step, and only where the last step ended an episode.
        """
        return list(self._final_goals)

    def env_description(self) -> EnvDescription:
        """Return what the captioner says of the environment below: its rules and action names."""
        return self._channel.captioner.description

    def goal_vocabulary(self) -> tuple[str, ...]:
        """Return the goals, in the order of the one-hot channel."""
        return self._channel.goals

    def set_goal_factors(self, factors: Mapping[str, float]) -> None:
        """Multiply the planner's weights from the next state on, until other factors are set.

        Only the priorities change: neither a space nor the planner's own answers. A goal that is
        kept (``reselect="on_change"``) is kept still. Layers below are not told, since they may
        have another vocabulary.

        Args:
            factors: Goal -> factor, finite and > 0; goals that are left out have 1.

        Raises:
            InvalidOptionError: If a goal is unknown, or a factor is not finite and > 0.
        """
        self._channel.planning.set_factors(factors)

    def goal_factors(self) -> dict[str, float]:
        """Return what the planner's weight of each goal is multiplied by."""
        return self._channel.planning.factors

    def stats(self) -> dict[str, Any]:
        """Return counters: states seen, planner calls, failures, unknown goals, steps per goal.

        `goal_factors` holds the factors that are not 1.
        """
        changed = {goal: f for goal, f in self.goal_factors().items() if f != 1.0}
        return {**self._channel.stats(), "goal_factors": changed}

    def all_stats(self) -> dict[str, dict[str, Any]]:
        """Return the counters of this wrapper and of those below, by class name."""
        return gathered_stats(self)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters and the factors of the goals, for checkpoints."""
        return {**self._channel.state_dict(), "goal_factors": self.goal_factors()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counters and the factors; a state from before there were any has none.

        Raises:
            InvalidOptionError: If the state is of another goal vocabulary.
        """
        self._channel.load_state_dict(state)
        self.set_goal_factors(state.get("goal_factors", {}))

    def _choose(
        self, observations: Any, infos: Any, rows: NDArray[np.intp], *, fresh: bool
    ) -> None:
        self._channel.update(
            observations,
            infos,
            streams=[self._episodes.streams[row] for row in rows],
            fresh=np.full(len(rows), fresh),
            rows=rows,
        )

    def _final(
        self, infos: Mapping[str, Any], rewards: NDArray[Any], rows: NDArray[np.intp]
    ) -> dict[str, Any]:
        """Return `final_obs` and `final_info` with the goals of the last states."""
        observations = final_observations(infos, self.env.single_observation_space, rows)
        self._choose(observations, take_rows(infos["final_info"], rows), rows, fresh=False)
        vectors = self._channel.current_vectors()
        final_obs = np.full(self.num_envs, None, dtype=object)
        for row in rows:
            final_obs[row] = self._joined(infos["final_obs"][row], vectors[row])
        ended = np.zeros(self.num_envs, dtype=np.bool_)
        ended[rows] = True
        self._final_goals = self._channel.guiding()
        final_info = self._with_goals(infos["final_info"], rewards, ended)
        return {"final_obs": final_obs, "final_info": final_info}

    def _with_goals(
        self, infos: Mapping[str, Any], rewards: NDArray[Any], present: NDArray[np.bool_]
    ) -> dict[str, Any]:
        joined = with_column(infos, "goal", self._channel.texts(), present)
        if "extrinsic_reward" not in infos:
            joined = with_column(joined, "extrinsic_reward", rewards, present)
        return joined

    def _join(self, observations: Any) -> dict[str, Any]:
        return self._joined(observations, self._channel.current_vectors())

    def _joined(self, observation: Any, vectors: NDArray[np.float32]) -> dict[str, Any]:
        if self._is_dict:
            return {**observation, self._key: vectors}
        return {"obs": observation, self._key: vectors}
