"""Actions pruned by the goal, in each sub-environment (SGRL)."""

from __future__ import annotations

from llm_wrappers.wrappers.action_mask import MaskMethods
from llm_wrappers.wrappers.vector._guided import GuidedVector

__all__ = ["ActionMaskWrapper"]


class ActionMaskWrapper(MaskMethods, GuidedVector):
    """Leaves only the actions open that serve the current goal of each sub-environment.

    The twin of `llm_wrappers.ActionMaskWrapper`, whose documentation holds: sub-environment i,
    seeded with ``seed + i``, has the same masks. `action_masks` returns those of all
    sub-environments; through `llm_wrappers.sb3.as_vec_env` MaskablePPO finds them. Works in every
    autoreset mode.

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
