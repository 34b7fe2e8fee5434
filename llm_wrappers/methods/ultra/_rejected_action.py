"""Actions of a model that cannot be used, and lists of numbers in words."""

from __future__ import annotations

import math

__all__ = ["REJECTED", "RejectedAction", "list_in_words"]

REJECTED = ("unknown_action", "wrong_shape", "not_finite")
"""Why an action cannot be used."""


class RejectedAction(ValueError):
    """An action that is not of the space; its text is one of `REJECTED`."""


def list_in_words(shape: tuple[int, ...], bounds: str, kind: str = "numbers") -> str:
    """Return how a list of numbers is to be written.

    >>> list_in_words((2,), "from -1 to 1")
    'a list of 2 numbers, from -1 to 1'
    """
    number = math.prod(shape)
    rows = f" (of shape {shape}, row by row)" if len(shape) != 1 else ""
    return f"a list of {number} {kind if number > 1 else kind.removesuffix('s')}{rows}, {bounds}"
