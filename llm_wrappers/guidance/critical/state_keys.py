"""When a state counts as one that was recorded, and an action as the one advised."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError

__all__ = [
    "SIMPLE_SPACES",
    "CellKeys",
    "Closeness",
    "NearestKeys",
    "check_advisable",
    "check_key",
    "checked_scales",
    "fitted_action",
    "flat",
    "make_keys",
    "stacked",
]


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


_KNOWN = '"exact", "rounded:DECIMALS", "bins:WIDTH", "bins:WIDTH,WIDTH,..." or "nearest:RADIUS"'


class CellKeys:
    """Two states have the same key if they are in the same cell.

    `groups` says which key each recorded state has, numbered in the order of first appearance.

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
) -> CellKeys | NearestKeys:
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


SIMPLE_SPACES = (
    gym.spaces.Box,
    gym.spaces.Discrete,
    gym.spaces.MultiDiscrete,
    gym.spaces.MultiBinary,
)


def check_advisable(space: gym.Space[Any]) -> None:
    """Refuse a space whose actions cannot be advised.

    Raises:
        IncompatibleEnvironmentError: If it is no Box, Discrete, MultiDiscrete or MultiBinary.
    """
    if not isinstance(space, SIMPLE_SPACES):
        raise IncompatibleEnvironmentError(
            "expected a Box, Discrete, MultiDiscrete or MultiBinary action space, got "
            f"{space}; actions of other spaces cannot be advised"
        )


def fitted_action(action: Any, space: gym.Space[Any], fault: str) -> NDArray[Any]:
    """Return an action in the type of its space, clipped where that is a Box.

    Args:
        action: The advised action.
        space: One that `check_advisable` passes.
        fault: The beginning of the message if it is none of the space.

    Raises:
        InvalidOptionError: If it is not of the space, out of the bounds of a Box excepted.
    """
    value = np.asarray(action)
    wrong = InvalidOptionError(f"{fault}, got {value.tolist()!r} of shape {value.shape}")
    if value.dtype.kind not in "biuf" or value.shape != space.shape:
        raise wrong
    if isinstance(space, gym.spaces.Box):
        # Clipped before it is cast: a number that the type cannot hold would wrap around.
        clipped: NDArray[Any] = np.clip(value, space.low, space.high).astype(space.dtype)
        if not space.contains(clipped):
            raise wrong
        return clipped
    fitting: NDArray[Any] = value.astype(space.dtype)
    if not np.array_equal(fitting, value) or not space.contains(fitting):
        raise wrong
    return fitting


class Closeness:
    """Compares actions with advice: equal, or for a Box of floats close enough.

    Args:
        space: The action space.
        tolerance: How far each part of an action may be off, as a share of its range, or where
            that is infinite in its units.

    Raises:
        InvalidOptionError: If the tolerance is no finite number >= 0.
    """

    def __init__(self, space: gym.Space[Any], tolerance: float) -> None:
        size = checks.number("tolerance", tolerance, least=0)
        self._near = np.zeros(space.shape or ())
        if isinstance(space, gym.spaces.Box) and space.dtype.kind == "f":
            with np.errstate(over="ignore"):
                width = np.subtract(space.high, space.low, dtype=np.float64)
            self._near = size * np.where(np.isfinite(width), width, 1.0)

    def agree(self, actions: NDArray[Any], advised: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where n actions are those advised, shape (n,)."""
        apart = np.abs(np.subtract(actions, advised, dtype=np.float64))
        return np.asarray((apart <= self._near).reshape(len(actions), -1).all(axis=1))
