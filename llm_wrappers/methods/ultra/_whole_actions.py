"""Actions of several choices as a model writes them: lists of whole numbers."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.methods.ultra._rejected_action import RejectedAction, list_in_words

__all__ = ["WholeActions"]

_MOST_SHOWN = 20


class WholeActions:
    """Actions of a MultiDiscrete or MultiBinary space, as lists of whole numbers.

    Args:
        space: The action space.
    """

    answer_type: Any = list[int]

    def __init__(self, space: gym.spaces.MultiDiscrete | gym.spaces.MultiBinary) -> None:
        self.names: tuple[str, ...] = ()
        self._space = space
        self._low = np.zeros(space.shape, int)
        self._high = np.ones(space.shape, int)
        if isinstance(space, gym.spaces.MultiDiscrete):
            self._low = np.asarray(getattr(space, "start", self._low))
            self._high = self._low + space.nvec - 1
        bounds = "; ".join(
            f"{low} to {high}"
            for low, high in zip(self._low.flat[:_MOST_SHOWN], self._high.flat, strict=False)
        )
        self.in_words = list_in_words(space.shape, f"from {bounds}", "whole numbers")

    def read(self, said: Any) -> tuple[NDArray[Any], bool]:
        """Return the action of a list, and that nothing was clipped."""
        if len(said) != math.prod(self._space.shape):
            raise RejectedAction("wrong_shape")
        # As Python's own numbers, which may be of any size.
        limits = zip(said, self._low.flat, self._high.flat, strict=True)
        if not all(low <= value <= high for value, low, high in limits):
            raise RejectedAction("unknown_action")
        return np.array(said, dtype=self._space.dtype).reshape(self._space.shape), False
