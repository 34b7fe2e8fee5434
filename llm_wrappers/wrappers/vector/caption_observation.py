"""The caption of the state in the observation of each sub-environment."""

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
from llm_wrappers.wrappers._caption_channel import CaptionChannel
from llm_wrappers.wrappers._goals_below import gathered_stats
from llm_wrappers.wrappers._streams import depth_of
from llm_wrappers.wrappers.goal_observation import goal_observation_space
from llm_wrappers.wrappers.vector._episodes import (
    Episodes,
    final_observations,
    take_rows,
    with_column,
)

__all__ = ["CaptionObservationWrapper"]


class CaptionObservationWrapper(gym.vector.VectorWrapper):  # generic only from gymnasium 1.4
    """Adds the vector of the state's caption to the observation of each sub-environment.

    The twin of `llm_wrappers.CaptionObservationWrapper`, whose documentation holds. The captions
    of a step that are not known yet are encoded in one call. Works in every autoreset mode.

    Args:
        env: The vector environment.
        captioner: Turns observations into captions; None for the environment's own, or a generic
            one.
        encoder: An encoder or its name.
        key: The key of the caption in the observation.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If a name is not known.
        GuidanceError: If the encoder returns no finite unit vector for the empty text.

    >>> import gymnasium as gym
    >>> envs = CaptionObservationWrapper(
    ...     gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"), encoder="hashing:32"
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> observations["caption"].shape, infos["caption"].shape
    ((2, 32), (2,))
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any],
        *,
        captioner: Captioner | None = None,
        encoder: str | Encoder = "hashing",
        key: str = "caption",
    ) -> None:
        super().__init__(env)
        self._channel = CaptionChannel(
            env.num_envs, captioner=resolve_captioner(env, captioner), encoder=encoder
        )
        self._key = key
        self._is_dict = isinstance(env.single_observation_space, gym.spaces.Dict)
        self.single_observation_space = goal_observation_space(
            env.single_observation_space, key, self._channel.space
        )
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        name = type(self).__name__
        self._episodes = Episodes(env, owner=name, depth=depth_of(env, name))

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
        # Sub-environments that were not reset keep their captions: their states have not changed.
        self._channel.update(take_rows(observations, rows), take_rows(infos, rows), rows)
        infos = self._with_captions(infos, np.zeros(self.num_envs), fresh)
        return self._joined(observations, self._channel.current_vectors()), infos

    def step(self, actions: Any) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]:
        """Step all sub-environments and caption the states they are in now."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        rewards = np.asarray(rewards, dtype=np.float64)
        fresh = self._episodes.advance(terminated | truncated)
        shown_rewards, final = rewards, {}
        if self._episodes.same_step and fresh.any():
            final = self._final(infos, rewards, np.flatnonzero(fresh))
            shown_rewards = np.where(fresh, 0.0, rewards)
        self._channel.update(observations, infos)
        everywhere = np.ones(self.num_envs, dtype=np.bool_)
        infos = {**self._with_captions(infos, shown_rewards, everywhere), **final}
        observations = self._joined(observations, self._channel.current_vectors())
        return observations, rewards, terminated, truncated, infos

    def env_description(self) -> EnvDescription:
        """Return what the captioner says of the environment below: its rules and action names."""
        return self._channel.captioner.description

    def stats(self) -> dict[str, Any]:
        """Return counters: states captioned, and failures of the encoder."""
        return self._channel.stats()

    def all_stats(self) -> dict[str, dict[str, Any]]:
        """Return the counters of this wrapper and of those below, by class name."""
        return gathered_stats(self)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters, for checkpoints."""
        return {"counts": self._channel.stats()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counters."""
        self._channel.load_state_dict(state)

    def _final(
        self, infos: Mapping[str, Any], rewards: NDArray[Any], rows: NDArray[np.intp]
    ) -> dict[str, Any]:
        """Return `final_obs` and `final_info` with the captions of the last states."""
        observations = final_observations(infos, self.env.single_observation_space, rows)
        self._channel.update(observations, take_rows(infos["final_info"], rows), rows)
        vectors = self._channel.current_vectors()
        final_obs = np.full(self.num_envs, None, dtype=object)
        for row in rows:
            final_obs[row] = self._joined(infos["final_obs"][row], vectors[row])
        ended = np.zeros(self.num_envs, dtype=np.bool_)
        ended[rows] = True
        final_info = self._with_captions(infos["final_info"], rewards, ended)
        return {"final_obs": final_obs, "final_info": final_info}

    def _with_captions(
        self, infos: Mapping[str, Any], rewards: NDArray[Any], present: NDArray[np.bool_]
    ) -> dict[str, Any]:
        joined = with_column(infos, "caption", self._channel.texts(), present)
        if "extrinsic_reward" not in infos:
            joined = with_column(joined, "extrinsic_reward", rewards, present)
        return joined

    def _joined(self, observation: Any, vectors: NDArray[np.float32]) -> dict[str, Any]:
        if self._is_dict:
            return {**observation, self._key: vectors}
        return {"obs": observation, self._key: vectors}
