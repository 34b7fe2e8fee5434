"""The range in which a robot has to stay, and how near it is to leaving it."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """A range that a quantity has to stay in.

    Args:
        low: The lower limit, or minus infinity.
        high: The upper limit, or infinity.
    """

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low < value < self.high

    def margin(self, value: float) -> float | None:
        """Return how far the nearer limit is, negative outside; None where there is none."""
        margin = min(value - self.low, self.high - value)
        return None if math.isinf(self.low) and math.isinf(self.high) else margin

    def is_near_low(self, value: float) -> bool:
        """Return whether the lower limit is the nearer one."""
        return value - self.low <= self.high - value

    def seconds(self, value: float, velocity: float) -> float | None:
        """Return how long until a limit is reached at this velocity; None for never, or outside.

        Args:
            value: The quantity.
            velocity: Its change per second.
        """
        if not self.low <= value <= self.high or not velocity:
            return None
        seconds = abs((self.high if velocity > 0 else self.low) - value) / abs(velocity)
        return seconds if math.isfinite(seconds) else None

    def words(self, unit: str, scale: float = 1.0) -> str:
        """Return the range in words.

        Args:
            unit: The unit in which it is told.
            scale: What the limits are multiplied by for this unit.

        >>> Limits(0.7, math.inf).words("m"), Limits(-1.0, 1.0).words("rad")
        ('above 0.7 m', 'between -1 and 1 rad')
        """
        low, high = (f"{round(limit * scale, 2):g}" for limit in (self.low, self.high))
        if math.isinf(self.low):
            return "at any value" if math.isinf(self.high) else f"below {high} {unit}"
        return (
            f"above {low} {unit}" if math.isinf(self.high) else f"between {low} and {high} {unit}"
        )
