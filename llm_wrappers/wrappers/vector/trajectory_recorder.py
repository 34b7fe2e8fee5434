"""Recording what happens in each episode of each sub-environment."""

from __future__ import annotations

from llm_wrappers.wrappers.trajectory_recorder import RecorderMethods
from llm_wrappers.wrappers.vector._guided import GuidedVector

__all__ = ["TrajectoryRecorder"]


class TrajectoryRecorder(RecorderMethods, GuidedVector):
    """Records the episodes of each sub-environment, in the order in which they end.

    The twin of `llm_wrappers.TrajectoryRecorder`, whose documentation holds. Works in every
    autoreset mode: the last observation of an episode is its own, never the first of the next.
    With `max_episodes` the first that begin are recorded, so that short ones are not preferred.

    >>> import gymnasium as gym, numpy as np
    >>> envs = TrajectoryRecorder(
    ...     gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync", max_episode_steps=2)
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> for _ in range(2):
    ...     observations, rewards, terminated, truncated, infos = envs.step(np.array([1, 0]))
    >>> [(each.seed, each.actions.tolist()) for each in envs.trajectories()]
    [(0, [1, 1]), (1, [0, 0])]
    """
