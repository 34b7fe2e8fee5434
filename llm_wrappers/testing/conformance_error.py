"""What the conformance kit checks, and what it raises."""

from __future__ import annotations

import enum
from typing import Any

__all__ = ["ConformanceError", "Point"]

_LONGEST = 400


class Point(enum.Enum):
    """The points of the contract that every wrapper keeps, and every stack of them."""

    RECORDED_ARGUMENTS = "1 recorded arguments"
    SPEC = "2 spec"
    ENVIRONMENT_CHECKERS = "3 environment checkers"
    FRESH_OBJECTS = "4 fresh objects"
    SEEDING = "5 seeding"
    RESET = "6 reset in mid-episode"
    COPIES = "7 copies"
    INFO = "8 info"
    NEUTRAL = "9 neutral settings"
    STACKS = "10 stacks"
    NO_NETWORK = "11 no network"
    STATE = "12 state"
    VECTOR_TWIN = "vector twin"
    STACK_ORDER = "stack order"
    STACK_WORDS = "stack words"
    STACK_ACTIONS = "stack actions"
    STACK_MASKS = "stack masks"
    STACK_PROGRESS = "stack progress"
    STACK_RESUME = "stack resume"
    CAPTIONER_DESCRIPTION = "captioner description"
    CAPTIONER_FACTS = "captioner facts"
    CAPTIONER_BATCH = "captioner batch"
    CAPTIONER_OBJECTS = "captioner objects"
    CAPTIONER_CAPTIONS = "captioner captions"
    CAPTIONER_LEGALITY = "captioner legality"
    CAPTIONER_COPIES = "captioner copies"


class ConformanceError(AssertionError):
    """A wrapper does not keep a point of the contract.

    Args:
        point: Which one.
        expected: What the contract asks for.
        got: What was observed.
        advice: What to do.
        where: Which of several stacks it was; empty where there is one.

    >>> str(ConformanceError(Point.INFO, "no timings in the info", got={"seconds": 0.1}))
    "point 8 info: expected no timings in the info, got {'seconds': 0.1}"
    """

    def __init__(
        self, point: Point, expected: str, *, got: Any, advice: str = "", where: str = ""
    ) -> None:
        shown = got if isinstance(got, str) else repr(got)
        if len(shown) > _LONGEST:
            shown = f"{shown[:_LONGEST]}..."
        place = f" ({where})" if where else ""
        message = f"point {point.value}{place}: expected {expected}, got {shown}"
        super().__init__(f"{message}; {advice}" if advice else message)
        self.point = point
        self._said = (expected, shown, advice)

    def within(self, where: str) -> ConformanceError:
        """Return the same error of one among several stacks."""
        expected, got, advice = self._said
        return ConformanceError(self.point, expected, got=got, advice=advice, where=where)
