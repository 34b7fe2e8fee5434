"""What recorded play says about one goal and its mask."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GoalAudit", "share"]


@dataclass(frozen=True)
class GoalAudit:
    """What recorded play says about one goal and its mask.

    Args:
        masked: Whether the goal has a mask.
        planned: In how many states it was in the plan.
        reached: How often it was reached, by an action that can have an effect where that is known.
        forbidden: How many of these actions its mask forbids.
        allowed: How many (state, action) pairs its mask allows, over the states in which it was in
            the plan; None if it has no mask, or nobody knows which actions have an effect.
        idle: How many of these pairs are without effect; None likewise.
    """

    masked: bool
    planned: int
    reached: int
    forbidden: int
    allowed: int | None
    idle: int | None

    @property
    def over_strict(self) -> float | None:
        """The share of the actions that reached the goal which its mask forbids."""
        return share(self.forbidden, self.reached) if self.masked else None

    @property
    def over_loose(self) -> float | None:
        """The share of the allowed pairs that are without effect."""
        return share(self.idle, self.allowed)


def share(part: int | None, whole: int | None) -> float | None:
    """Return part / whole, None where there is nothing to take a share of.

    >>> share(1, 4), share(0, 0)
    (0.25, None)
    """
    return None if part is None or not whole else part / whole
