"""A reward for doing what was suggested, in each sub-environment (ELLM)."""

from __future__ import annotations

from llm_wrappers.wrappers.similarity_reward import SimilarityMethods
from llm_wrappers.wrappers.vector._guided import GuidedVector

__all__ = ["SimilarityRewardWrapper"]


class SimilarityRewardWrapper(SimilarityMethods, GuidedVector):
    """Rewards transitions of each sub-environment that do what was suggested before them.

    The twin of `llm_wrappers.SimilarityRewardWrapper`, whose documentation holds: sub-environment
    i, seeded with ``seed + i``, has the same rewards. The suggester and the encoder are asked for
    all sub-environments at once. Works in every autoreset mode; the step that only shows a new
    episode pays 0.

    >>> import gymnasium as gym
    >>> from llm_wrappers.captions.generic import GenericCaptioner
    >>> lakes = gym.make_vec("FrozenLake-v1", num_envs=2, is_slippery=False)
    >>> envs = SimilarityRewardWrapper(
    ...     lakes,
    ...     suggester=["took action 2: obs changed from 0 to 1"],
    ...     captioner=GenericCaptioner(lakes.single_observation_space, lakes.single_action_space),
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> envs.step([2, 0])[1].tolist()
    [1.0, 0.0]
    """
