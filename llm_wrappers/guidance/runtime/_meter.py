"""Fuel: how much one call of a planner may still do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["Meter", "OutOfFuel"]


_FEW = 1_000
_FIXED = frozenset({tuple, str, range, frozenset})


class OutOfFuel(BaseException):
    """A planner did more than it may; not an `Exception`, so that no planner can catch it."""


class Meter:
    """Counts down what one call may do, in steps of about the cost of one loop turn.

    Args:
        fuel: The steps of one call.
        backwards: Whether loops over sets run from their end, to find out what depends on an
            order that Python does not promise.
    """

    __slots__ = ("_backwards", "fuel", "left")

    def __init__(self, fuel: int, *, backwards: bool = False) -> None:
        self.fuel = fuel
        self.left = fuel
        self._backwards = backwards

    def refill(self) -> None:
        """Begin a new call."""
        self.left = self.fuel

    def tick(self) -> bool:
        """Count one step; true, so that it can stand in front of an expression."""
        self.left -= 1
        if self.left < 0:
            raise OutOfFuel
        return True

    def charge(self, steps: int) -> None:
        """Count several steps at once."""
        self.left -= steps
        if self.left < 0:
            raise OutOfFuel

    def each(self, iterable: Iterable[Any]) -> Iterable[Any]:
        """Return what to iterate over instead, so that every turn is counted."""
        if self._backwards and isinstance(iterable, set | frozenset):
            iterable = tuple(iterable)[::-1]
        if type(iterable) in _FIXED and len(iterable) <= _FEW:  # type: ignore[arg-type]
            # These cannot grow on the way, and are paid at once.
            self.charge(len(iterable))  # type: ignore[arg-type]
            return iterable
        return self._counted(iterable)

    def _counted(self, iterable: Iterable[Any]) -> Iterator[Any]:
        for item in iterable:
            self.tick()
            yield item
