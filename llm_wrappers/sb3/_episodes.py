"""Returns and lengths of the episodes of many sub-environments."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EpisodeTotals"]


class EpisodeTotals:
    """Counts what SB3's `Monitor` counts, for n sub-environments at once.

    Args:
        n: The number of sub-environments.
    """

    def __init__(self, n: int) -> None:
        self._returns = np.zeros(n)
        # One count of steps, and where each episode began in it: cheaper than n counts.
        self._steps, self._began = 0, np.zeros(n, np.int64)
        self._start = time.time()

    def begin(self) -> None:
        """Forget the episodes that were not played to their end."""
        self._returns[:], self._began[:] = 0.0, self._steps

    def add(self, rewards: NDArray[Any]) -> None:
        """Take in the rewards of a step, shape (n,)."""
        self._returns += rewards
        self._steps += 1

    def finish(self, index: int) -> dict[str, Any]:
        """Return the return ``r``, length ``l`` and seconds ``t`` of an episode, and begin anew."""
        total = {
            "r": round(float(self._returns[index]), 6),
            "l": self._steps - int(self._began[index]),
            "t": round(time.time() - self._start, 6),
        }
        self._returns[index], self._began[index] = 0.0, self._steps
        return total
