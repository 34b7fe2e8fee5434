"""What the conformance kit checks, and what it raises."""

from __future__ import annotations

import enum
from typing import Any

__all__ = ["ConformanceError", "Point"]

_LONGEST = 400


class Point(enum.Enum):
    """The points of the contract that every wrapper keeps."""

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


class ConformanceError(AssertionError):
    """A wrapper does not keep a point of the contract.

    Args:
        point: Which one.
        expected: What the contract asks for.
        got: What was observed.
        advice: What to do.

    >>> str(ConformanceError(Point.INFO, "no timings in the info", got={"seconds": 0.1}))
    "point 8 info: expected no timings in the info, got {'seconds': 0.1}"
    """

    def __init__(self, point: Point, expected: str, *, got: Any, advice: str = "") -> None:
        shown = got if isinstance(got, str) else repr(got)
        if len(shown) > _LONGEST:
            shown = f"{shown[:_LONGEST]}..."
        message = f"point {point.value}: expected {expected}, got {shown}"
        super().__init__(f"{message}; {advice}" if advice else message)
        self.point = point
