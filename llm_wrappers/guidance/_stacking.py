"""Numbers of critical states as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import InvalidOptionError

__all__ = ["flat", "stacked"]


def stacked(what: str, values: Sequence[Any]) -> NDArray[Any]:
    """Return arrays of numbers as one, shape (n, ...).

    Args:
        what: What they are, in messages.
        values: Arrays or numbers, all of one shape.

    Raises:
        InvalidOptionError: If they are of several shapes, or hold something else than finite
            numbers.
    """
    try:
        array = np.stack([np.asarray(value) for value in values]) if values else np.zeros(0)
    except ValueError as error:
        raise InvalidOptionError(
            f"expected every {what} of the table to have one shape, got "
            f"{sorted({np.shape(value) for value in values})}"
        ) from error
    if array.dtype.kind not in "biuf":
        raise InvalidOptionError(f"expected every {what} to be of numbers, got {array.dtype}")
    finite = np.isfinite(flat(array)).all(axis=1) if values else np.ones(0, dtype=np.bool_)
    if not finite.all():
        raise InvalidOptionError(
            f"the {what} of critical state {int(finite.argmin())} has a number that is not finite: "
            "leave that state out"
        )
    return array


def flat(states: NDArray[Any]) -> NDArray[np.float64]:
    """Return n arrays as rows, shape (n, numbers)."""
    return np.asarray(states, dtype=np.float64).reshape(len(states), -1)
