"""Rewards of each sub-environment shifted by judgements of what the agent does (LMGT)."""

from __future__ import annotations

from llm_wrappers.wrappers.reward_shift import ShiftMethods
from llm_wrappers.wrappers.vector._guided import GuidedVector

__all__ = ["RewardShiftWrapper"]


class RewardShiftWrapper(ShiftMethods, GuidedVector):
    """Adds a judgement of each state and the action taken in it to each reward.

    The twin of `llm_wrappers.RewardShiftWrapper`, whose documentation holds: sub-environment i,
    seeded with ``seed + i``, has the same rewards. The judge is asked for all sub-environments at
    once. Works in every autoreset mode; the step that only shows a new episode is not judged.

    >>> import gymnasium as gym, numpy as np
    >>> envs = RewardShiftWrapper(
    ...     gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"),
    ...     judge="reference", scale=0.5,
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> observations, rewards, terminated, truncated, infos = envs.step(np.array([1, 0]))
    >>> rewards.tolist(), infos["judgement"].tolist()
    ([0.5, 1.5], [-1, 1])
    """
