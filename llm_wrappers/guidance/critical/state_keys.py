"""When a state counts as one that was recorded: equal, in the same cell, or near."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import InvalidOptionError

__all__ = ["CellKeys", "NearestKeys", "StateKeys", "check_key", "checked_scales", "make_keys"]

_KNOWN = '"exact", "rounded:DECIMALS", "bins:WIDTH", "bins:WIDTH,WIDTH,..." or "nearest:RADIUS"'


class StateKeys(Protocol):
    """Finds recorded states in observations.

    `groups` says which key each recorded state has, shape (entries,), numbered from 0 in the order
    of first appearance.
    """

    groups: NDArray[np.intp]

    def match(self, states: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the key of each of n flat states, shape (n, d); -1 for none."""


class CellKeys:
    """Two states have the same key if they are in the same cell.

    Args:
        recorded: The recorded states, shape (entries, d).
        cell: From states, shape (n, d), to the numbers of their cells, same shape.
    """

    def __init__(
        self,
        recorded: NDArray[np.float64],
        cell: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    ) -> None:
        self._cell = cell
        self._number: dict[bytes, int] = {}
        numbers = [self._number.setdefault(k, len(self._number)) for k in self._keys(recorded)]
        self.groups = np.array(numbers, dtype=np.intp)

    def match(self, states: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the key of each of n flat states, shape (n, d); -1 for none."""
        find = self._number.get
        return np.array([find(key, -1) for key in self._keys(states)], dtype=np.intp)

    def _keys(self, states: NDArray[np.float64]) -> list[bytes]:
        # Adding zero makes a negative zero a positive one, which has other bytes.
        return [row.tobytes() for row in self._cell(states) + 0.0]


class NearestKeys:
    """A state has the key of the nearest recorded one, if that is near enough.

    The distance is the root mean square, over dimensions, of the difference in standard deviations.

    Args:
        recorded: The recorded states, shape (entries, d).
        radius: The largest distance that is near, at least 0.
        scales: The standard deviation of each dimension, shape (d,).
    """

    def __init__(
        self, recorded: NDArray[np.float64], radius: float, scales: NDArray[np.float64]
    ) -> None:
        self._scales = scales
        equal = CellKeys(recorded, _itself)
        self.groups = equal.groups
        _, first = np.unique(equal.groups, return_index=True)
        self._recorded = recorded[first] / scales
        self._largest = radius**2 * recorded.shape[1]

    def match(self, states: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the key of each of n flat states, shape (n, d); -1 for none."""
        found = np.full(len(states), -1, dtype=np.intp)
        # A state far outside of what was recorded may overflow, and then is not near.
        with np.errstate(over="ignore", invalid="ignore"):
            for row, state in enumerate(states / self._scales):
                apart = self._recorded - state
                distances = np.einsum("ij,ij->i", apart, apart)
                nearest = int(distances.argmin())
                if distances[nearest] <= self._largest:
                    found[row] = nearest
        return found


def make_keys(
    key: str, recorded: NDArray[np.float64], scales: Sequence[float] | None = None
) -> StateKeys:
    """Return what finds recorded states in observations.

    Args:
        key: ``"exact"``; ``"rounded:DECIMALS"``, the same for each dimension; ``"bins:WIDTH"`` or
            one width per dimension, ``"bins:0.1,0.5"``; or ``"nearest:RADIUS"``, the distance in
            standard deviations.
        recorded: The recorded states, shape (entries, d), at least one.
        scales: The standard deviations for ``"nearest"``, shape (d,); None for those of the
            recorded states, with 1 where all are equal.

    Raises:
        InvalidOptionError: If the key is not one of these, or the numbers do not fit.
    """
    kind, _, rest = key.partition(":") if isinstance(key, str) else ("", "", "")
    if scales is not None and kind != "nearest":
        raise InvalidOptionError(f'scales are only for the key "nearest:RADIUS", got key={key!r}')
    if key == "exact":
        return CellKeys(recorded, _itself)
    numbers = _numbers(rest)
    if kind == "rounded" and len(numbers) == 1 and numbers[0] == int(numbers[0]):
        return CellKeys(recorded, _Rounded(int(numbers[0])))
    if kind == "bins" and numbers and min(numbers) > 0.0:
        if len(numbers) not in (1, recorded.shape[1]):
            raise InvalidOptionError(
                f"expected one width, or {recorded.shape[1]} for as many dimensions, got {key!r}"
            )
        return CellKeys(recorded, _Bins(np.array(numbers)))
    if kind == "nearest" and len(numbers) == 1 and numbers[0] >= 0.0:
        return NearestKeys(recorded, numbers[0], _fitting_scales(scales, recorded))
    raise InvalidOptionError(f"expected a key {_KNOWN}, got {key!r}")


def check_key(key: str, scales: Sequence[float] | None = None) -> None:
    """Refuse a key that no states could have.

    Raises:
        InvalidOptionError: If the key is not one that `make_keys` takes, or scales are not for it.
    """
    widths = _numbers(key.partition(":")[2]) if isinstance(key, str) else []
    dimensions = max(len(widths), 1) if scales is None else len(scales)
    make_keys(key, np.zeros((1, dimensions)), scales)


def checked_scales(scales: Sequence[float] | None) -> tuple[float, ...] | None:
    """Return scales as numbers.

    Raises:
        InvalidOptionError: If they are neither None nor a row of numbers.
    """
    try:
        return None if scales is None else tuple(float(scale) for scale in scales)
    except (TypeError, ValueError) as error:
        raise InvalidOptionError(
            f"scales must be one number for each dimension, or None, got {scales!r}"
        ) from error


class _Rounded:
    def __init__(self, decimals: int) -> None:
        self._decimals = decimals

    def __call__(self, states: NDArray[np.float64]) -> NDArray[np.float64]:
        # Numbers near the largest overflow while they are rounded; they have no decimals anyway.
        with np.errstate(over="ignore"):
            rounded = np.round(states, self._decimals)
        return np.where(np.isfinite(rounded), rounded, states)


class _Bins:
    def __init__(self, widths: NDArray[np.float64]) -> None:
        self._widths = widths

    def __call__(self, states: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.floor(states / self._widths)


def _itself(states: NDArray[np.float64]) -> NDArray[np.float64]:
    return states


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def _fitting_scales(
    scales: Sequence[float] | None, recorded: NDArray[np.float64]
) -> NDArray[np.float64]:
    if scales is None:
        # Squares of huge numbers overflow, and leave no spread to divide by.
        with np.errstate(over="ignore"):
            spread = recorded.std(axis=0)
        # Rounding leaves equal numbers a spread that is not quite zero.
        noise = 1e-9 * np.abs(recorded).max(axis=0)
        return np.where((spread > noise) & np.isfinite(spread), spread, 1.0)
    checked = np.asarray(scales, dtype=np.float64)
    if checked.shape != recorded.shape[1:] or not (np.isfinite(checked) & (checked > 0.0)).all():
        raise InvalidOptionError(
            f"scales must be {recorded.shape[1]} finite numbers above 0, one per dimension, "
            f"got {scales!r}"
        )
    return checked
