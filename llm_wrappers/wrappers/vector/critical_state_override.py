"""Advised actions and rewards at the critical states of each sub-environment (ULTRA)."""

from __future__ import annotations

from llm_wrappers.wrappers.critical_state_override import OverrideMethods
from llm_wrappers.wrappers.vector._guided import GuidedVector

__all__ = ["CriticalStateOverrideWrapper"]


class CriticalStateOverrideWrapper(OverrideMethods, GuidedVector):
    """Executes advised actions, and adds rewards, in critical states of each sub-environment.

    The twin of `llm_wrappers.CriticalStateOverrideWrapper`, whose documentation holds:
    sub-environment i, seeded with ``seed + i``, gets the same advice. The table is shared. Works in
    every autoreset mode; the step that only shows a new episode is no step in a critical state.

    >>> import gymnasium as gym, numpy as np
    >>> from llm_wrappers.guidance.critical.table import CriticalState
    >>> from llm_wrappers.guidance.critical.table import CriticalStates
    >>> table = CriticalStates([CriticalState(0, 2)], key="exact")
    >>> envs = gym.make_vec("FrozenLake-v1", 2, vectorization_mode="sync", is_slippery=False)
    >>> envs = CriticalStateOverrideWrapper(envs, critical_states=table, probability=1.0)
    >>> observations, infos = envs.reset(seed=0)
    >>> observations, rewards, terminated, truncated, infos = envs.step(np.array([2, 3]))
    >>> rewards.tolist(), infos["executed_action"].tolist()
    ([0.5, -0.5], [2, 2])
    """
