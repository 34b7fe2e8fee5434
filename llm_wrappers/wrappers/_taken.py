"""What a step did in n sub-environments whose actions may be overridden (ULTRA)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

__all__ = ["Taken"]


@dataclass(frozen=True)
class Taken:
    """What a step did in each of n sub-environments.

    Args:
        agent: The actions of the agent, shape (n, ...).
        executed: The actions that the environment gets, shape (n, ...).
        critical: Where the state was a critical one, shape (n,).
        overridden: Where the advice was executed, shape (n,).
        implicit: What is added to the rewards, shape (n,).
    """

    agent: NDArray[Any]
    executed: NDArray[Any]
    critical: NDArray[np.bool_]
    overridden: NDArray[np.bool_]
    implicit: NDArray[np.float64]

    @classmethod
    def nothing(cls, n: int, space: gym.Space[Any]) -> Taken:
        """Return the outcome of a reset, whose actions are 0 for a Box and else -1."""
        signed = not isinstance(space, gym.spaces.Box) and np.dtype(space.dtype).kind == "i"
        actions = np.full((n, *(space.shape or ())), -1 if signed else 0, space.dtype)
        nowhere = np.zeros(n, dtype=np.bool_)
        return cls(actions, actions, nowhere, nowhere, np.zeros(n))

    def without(self, rows: NDArray[np.bool_], space: gym.Space[Any]) -> Taken:
        """Return this with the outcome of a reset in some sub-environments, shape (n,)."""
        if not rows.any():
            return self
        other = Taken.nothing(len(rows), space)
        parts = {name: getattr(self, name).copy() for name in other.__dataclass_fields__}
        for name, part in parts.items():
            part[rows] = getattr(other, name)[rows]
        return replace(self, **parts)
