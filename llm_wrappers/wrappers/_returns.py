"""What the environment paid in the episodes of n sub-environments."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EpisodeReturns"]


class EpisodeReturns:
    """Sums of rewards until episodes end, without a discount.

    Args:
        n: The number of sub-environments.
    """

    def __init__(self, n: int) -> None:
        self._running = np.zeros(n)
        self.episodes = 0
        self.mean = 0.0
        self.largest = 0.0

    def begin(self, fresh: NDArray[np.bool_]) -> None:
        """Forget episodes that were not played to their end, shape (n,)."""
        self._running[fresh] = 0.0

    def add(
        self, rewards: Any, rows: NDArray[np.intp], ended: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Take in a step and return what the episodes that it ended paid, in the order of the rows.

        Args:
            rewards: Of all n.
            rows: Which of them took a step.
            ended: Where an episode ended, shape (n,).
        """
        self._running[rows] += np.asarray(rewards, dtype=np.float64)[rows]
        over = rows[ended[rows]]
        finished: NDArray[np.float64] = self._running[over]
        self._running[over] = 0.0
        for value in finished.tolist():
            self.episodes += 1
            self.mean += (value - self.mean) / self.episodes
            self.largest = max(self.largest, abs(value))
        return finished

    def stats(self) -> dict[str, float]:
        """Return the number of finished episodes, their mean return and the largest in size."""
        return {
            "episodes": self.episodes,
            "mean_return": self.mean,
            "largest_return": self.largest,
        }

    def load(self, stats: Any) -> None:
        """Restore what `stats` returned."""
        self.episodes = int(stats["episodes"])
        self.mean, self.largest = float(stats["mean_return"]), float(stats["largest_return"])
