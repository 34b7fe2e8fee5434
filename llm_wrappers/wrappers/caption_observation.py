"""The caption of the state in the observation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from llm_wrappers.captions.captioner import Captioner, batch_infos
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.embeddings import Encoder
from llm_wrappers.wrappers._caption_channel import CaptionChannel
from llm_wrappers.wrappers._goals_below import gathered_stats
from llm_wrappers.wrappers.goal_observation import batch_of_one, goal_observation_space

__all__ = ["CaptionObservationWrapper"]


class CaptionObservationWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds the vector of the state's caption to the observation.

    ELLM (arXiv 2302.06692) gives its policy a text embedding of the state beside the pixels. The
    caption comes from the environment's captioner and no language model is asked. Reward and
    episode ends are untouched.

    A Box or other observation becomes ``Dict(caption=..., obs=...)``; a Dict gains a key. Policies
    then need "MultiInputPolicy". The text is in ``info["caption"]``. A text is encoded once, and
    each further time its vector is looked up.

    An encoder that fails does not stop training: the caption is shown as the zero vector, it is
    counted in `stats` and a warning is issued once.

    A vector version exists: `llm_wrappers.wrappers.vector.CaptionObservationWrapper`.

    Args:
        env: The environment.
        captioner: Turns observations into captions; None for the environment's own, or a generic
            one.
        encoder: An encoder or its name, see `llm_wrappers.embeddings.resolve_encoder`.
        key: The key of the caption in the observation.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If a name is not known.
        GuidanceError: If the encoder returns no finite unit vector for the empty text, from which
            the wrapper learns the length of its vectors.

    >>> import gymnasium as gym
    >>> env = CaptionObservationWrapper(gym.make("CartPole-v1"), encoder="hashing:32")
    >>> observation, info = env.reset(seed=0)
    >>> sorted(observation), observation["caption"].shape
    (['caption', 'obs'], (32,))
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        *,
        captioner: Captioner | None = None,
        encoder: str | Encoder = "hashing",
        key: str = "caption",
    ) -> None:
        self._channel = CaptionChannel(
            1, captioner=resolve_captioner(env, captioner), encoder=encoder
        )
        space = goal_observation_space(env.observation_space, key, self._channel.space)
        RecordConstructorArgs.__init__(self, captioner=captioner, encoder=encoder, key=key)
        gym.Wrapper.__init__(self, env)
        self.observation_space = space
        self._key = key
        self._base_space = env.observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reset the environment and caption the first state."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_caption(observation, {"extrinsic_reward": 0.0, **info})

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Step the environment and caption the state it is in now."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        info = {"extrinsic_reward": float(reward), **info}
        with_caption, info = self._with_caption(observation, info)
        return with_caption, float(reward), bool(terminated), bool(truncated), info

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

    def _with_caption(
        self, observation: Any, info: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        self._channel.update(batch_of_one(self._base_space, observation), batch_infos(info))
        info["caption"] = self._channel.texts()[0]
        vector = self._channel.current_vectors()[0]
        if isinstance(observation, Mapping):
            return {**observation, self._key: vector}, info
        return {"obs": observation, self._key: vector}, info
