"""A goal in the observation of each sub-environment (SGRL)."""

from __future__ import annotations

from llm_wrappers.wrappers.goal_observation import GoalMethods
from llm_wrappers.wrappers.vector._guided import GuidedVector

__all__ = ["GoalObservationWrapper"]


class GoalObservationWrapper(GoalMethods, GuidedVector):
    """Adds the goal that a planner sets for the current state to each sub-environment.

    The twin of `llm_wrappers.GoalObservationWrapper`, whose documentation holds: sub-environment
    i, seeded with ``seed + i``, has the same goals. The planner is asked for all sub-environments
    at once. Works in every autoreset mode.

    >>> import gymnasium as gym
    >>> def planner(facts):
    ...     return [[("go left" if row["pole_angle_deg"] < 0 else "go right", 1)] for row in facts]
    >>> envs = GoalObservationWrapper(
    ...     gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"),
    ...     planner=planner, goals=["go left", "go right"],
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> observations["goal"].shape, infos["goal_text"].tolist()
    ((2, 2), ['go left', 'go left'])
    """
