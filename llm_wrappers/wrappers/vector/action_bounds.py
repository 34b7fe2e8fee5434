"""Continuous actions bounded by the goal, in each sub-environment."""

from __future__ import annotations

from llm_wrappers.wrappers.action_bounds import BoundsMethods
from llm_wrappers.wrappers.vector._guided import GuidedVector

__all__ = ["ActionBoundsWrapper"]


class ActionBoundsWrapper(BoundsMethods, GuidedVector):
    """Clips the continuous actions of each sub-environment to the bounds of its current goal.

    The twin of `llm_wrappers.wrappers.ActionBoundsWrapper`, whose documentation holds:
    sub-environment i, seeded with ``seed + i``, has the same bounds.

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
