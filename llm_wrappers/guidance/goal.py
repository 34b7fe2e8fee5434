"""A goal: a short text with a priority."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError

__all__ = ["Goal", "is_weight"]


@dataclass(frozen=True)
class Goal:
    """A short text with a priority weight.

    Args:
        text: One of the goal vocabulary, such as ``"collect wood"``.
        weight: Finite and >= 0; goals are chosen in proportion to it, or the largest wins.

    Raises:
        InvalidOptionError: If the text is empty or the weight is negative or not finite.

    >>> Goal("collect wood", 2.0)
    Goal(text='collect wood', weight=2.0)
    """

    text: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        checks.text("a goal's text", self.text)
        if isinstance(self.weight, bool) or not is_weight(self.weight):
            raise InvalidOptionError(
                f"the weight of goal {self.text!r} must be finite and >= 0, got {self.weight!r}"
            )


def is_weight(value: object) -> bool:
    """Return whether this is a number that can be a weight: finite, >= 0 and a float's size.

    >>> is_weight(2), is_weight(np.float32(0.5)), is_weight(float("nan")), is_weight(10**400)
    (True, True, False, False)
    """
    if isinstance(value, np.integer | np.floating):
        value = float(value)
    # An int too large for a float cannot be given to math.isfinite; it can be compared.
    return isinstance(value, int | float) and 0 <= value <= sys.float_info.max
