"""What training has reached so far, as a re-weigher is told it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["UnlockReport"]


@dataclass(frozen=True)
class UnlockReport:
    """Which goals the recent episodes reached, and how the goals are weighted now.

    Args:
        env_steps: Environment steps done, over all sub-environments.
        episodes: How many finished episodes the rates are of: those since the last re-weighting.
        success_rates: Goal -> share of these episodes in which it was reached, in [0, 1].
        factors: Goal -> what its weight is multiplied by now, > 0.

    >>> report = UnlockReport(2_000_000, 50, {"eat cow": 0.5}, {"eat cow": 1.0})
    >>> report.as_dict()["success_rates"]
    {'eat cow': 0.5}
    """

    env_steps: int
    episodes: int
    success_rates: Mapping[str, float]
    factors: Mapping[str, float] = field(default_factory=dict)

    def factor(self, goal: str) -> float:
        """Return the present factor of a goal, 1 where none is known."""
        return float(self.factors.get(goal, 1.0))

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON data."""
        return asdict(self)
