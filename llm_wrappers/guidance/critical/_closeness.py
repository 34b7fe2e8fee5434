"""When the action of an agent counts as the one that was advised."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks

__all__ = ["Closeness"]


class Closeness:
    """Compares actions with advice: equal, or for a Box of floats close enough.

    Args:
        space: The action space.
        tolerance: How far each part of an action may be off, as a share of its range, or where
            that is infinite in its units.

    Raises:
        InvalidOptionError: If the tolerance is no finite number >= 0.
    """

    def __init__(self, space: gym.Space[Any], tolerance: float) -> None:
        size = checks.number("tolerance", tolerance, least=0)
        self._near = np.zeros(space.shape or ())
        if isinstance(space, gym.spaces.Box) and space.dtype.kind == "f":
            with np.errstate(over="ignore"):
                width = np.subtract(space.high, space.low, dtype=np.float64)
            self._near = size * np.where(np.isfinite(width), width, 1.0)

    def agree(self, actions: NDArray[Any], advised: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where n actions are those advised, shape (n,)."""
        apart = np.abs(np.subtract(actions, advised, dtype=np.float64))
        return np.asarray((apart <= self._near).reshape(len(actions), -1).all(axis=1))
