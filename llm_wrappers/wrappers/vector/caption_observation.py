"""The caption of the state in the observation of each sub-environment."""

from __future__ import annotations

from llm_wrappers.wrappers.caption_observation import CaptionMethods
from llm_wrappers.wrappers.vector._guided import GuidedVector

__all__ = ["CaptionObservationWrapper"]


class CaptionObservationWrapper(CaptionMethods, GuidedVector):
    """Adds the vector of the state's caption to the observation of each sub-environment.

    The twin of `llm_wrappers.CaptionObservationWrapper`, whose documentation holds. The captions
    of a step that are not known yet are encoded in one call. Works in every autoreset mode.

    >>> import gymnasium as gym
    >>> envs = CaptionObservationWrapper(
    ...     gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"), encoder="hashing:32"
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> observations["caption"].shape, infos["caption_text"].shape
    ((2, 32), (2,))
    """
