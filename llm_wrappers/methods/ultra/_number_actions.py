"""Continuous actions as a model writes them: lists of numbers."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.methods.ultra._rejected_action import RejectedAction, list_in_words

__all__ = ["NumberActions"]

_MOST_SHOWN = 20


class NumberActions:
    """Actions of a Box, as lists of numbers.

    Args:
        space: The action space.
    """

    answer_type: Any = list[float]

    def __init__(self, space: gym.spaces.Box) -> None:
        self.names: tuple[str, ...] = ()
        self._space = space
        self.in_words = list_in_words(space.shape, _bounds_in_words(space))

    def read(self, said: Any) -> tuple[NDArray[Any], bool]:
        """Return the action within the bounds of the space, and whether it was outside."""
        if len(said) != math.prod(self._space.shape):
            raise RejectedAction("wrong_shape")
        wanted = np.array(said, dtype=np.float64).reshape(self._space.shape)
        # Whole numbers of very many digits are infinite by now.
        if not np.isfinite(wanted).all():
            raise RejectedAction("not_finite")
        inside = np.clip(wanted, self._space.low, self._space.high)
        if self._space.dtype is not None and self._space.dtype.kind in "iu":
            inside = np.rint(inside)
        with np.errstate(over="ignore"):
            action = inside.astype(self._space.dtype)
        if not np.isfinite(action).all():
            raise RejectedAction("not_finite")
        return action, not np.array_equal(inside, wanted)


def _bounds_in_words(space: gym.spaces.Box) -> str:
    pairs = list(zip(space.low.flat, space.high.flat, strict=True))
    shown = pairs[:1] if len(set(pairs)) == 1 else pairs[:_MOST_SHOWN]
    return "from " + "; ".join(f"{low:.4g} to {high:.4g}" for low, high in shown)
