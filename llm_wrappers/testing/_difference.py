"""Finding where two nested structures of data differ, and what memory they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Difference", "difference", "shared_part"]


class Difference(NamedTuple):
    """The first place where two structures differ."""

    where: str
    expected: str
    got: str


def difference(expected: Any, got: Any, where: str = "") -> Difference | None:
    """Return the first difference of type, shape, dtype or value, or None; NaN equals NaN.

    >>> difference({"a": [1, 2]}, {"a": [1, 3]}, "info")
    Difference(where="info['a'][1]", expected='2', got='3')
    """
    if type(expected) is not type(got):
        return Difference(where, _with_type(expected), _with_type(got))
    if isinstance(expected, dict):
        if expected.keys() != got.keys():
            keys = "the keys of " + (where or "it")
            return Difference(keys, str(sorted(map(str, expected))), str(sorted(map(str, got))))
        parts = ((f"{where}[{key!r}]", expected[key], got[key]) for key in expected)
    elif isinstance(expected, list | tuple):
        if len(expected) != len(got):
            return Difference(f"the length of {where}", str(len(expected)), str(len(got)))
        parts = (
            (f"{where}[{i}]", a, b) for i, (a, b) in enumerate(zip(expected, got, strict=True))
        )
    elif isinstance(expected, np.ndarray):
        return _array_difference(expected, got, where)
    else:
        same = expected is got or _same_scalar(expected, got)
        return None if same else Difference(where, repr(expected), repr(got))
    found = (difference(a, b, path) for path, a, b in parts)
    return next((one for one in found if one is not None), None)


def shared_part(data: Any, others: list[Any], *, allowed: Sequence[Any] = ()) -> str | None:
    """Return the path of a mutable part of `data` that is also a part of one of the others.

    >>> row = np.zeros(3)
    >>> shared_part({"a": 1, "b": row[:2]}, [[1, row]])
    "['b']"
    """
    theirs = [part for other in others for _, part in _mutable_parts(other, "")]
    exempt = [part for other in allowed for _, part in _mutable_parts(other, "")]
    for path, part in _mutable_parts(data, ""):
        if _is_among(part, theirs) and not _is_among(part, exempt):
            return path or "it"
    return None


def _is_among(part: Any, others: list[Any]) -> bool:
    if not isinstance(part, np.ndarray):
        return any(part is other for other in others)
    arrays = (other for other in others if isinstance(other, np.ndarray))
    return any(np.shares_memory(part, other) for other in arrays)


def _array_difference(
    expected: np.ndarray[Any, Any], got: np.ndarray[Any, Any], where: str
) -> Difference | None:
    if expected.dtype != got.dtype or expected.shape != got.shape:
        return Difference(
            where,
            f"an array of {expected.dtype} of shape {expected.shape}",
            f"an array of {got.dtype} of shape {got.shape}",
        )
    if expected.dtype == object:
        return difference(expected.tolist(), got.tolist(), where)
    differs = np.asarray(expected != got)
    if differs.any() and expected.dtype.kind in "fc":
        differs &= ~(np.isnan(expected) & np.isnan(got))
    if not differs.any():
        return None
    place = tuple(np.argwhere(differs)[0].tolist())
    at = "".join(f"[{i}]" for i in place)
    return Difference(f"{where}{at}", str(expected[place]), str(got[place]))


def _same_scalar(expected: Any, got: Any) -> bool:
    if isinstance(expected, float | np.floating) and np.isnan(expected):
        return bool(np.isnan(got))
    return bool(expected == got)


def _mutable_parts(data: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(data, dict):
        yield path, data
        for key, value in data.items():
            yield from _mutable_parts(value, f"{path}[{key!r}]")
    elif isinstance(data, list | tuple):
        if isinstance(data, list):
            yield path, data
        for index, value in enumerate(data):
            yield from _mutable_parts(value, f"{path}[{index}]")
    elif isinstance(data, np.ndarray) and data.size:
        yield path, data


def _with_type(value: Any) -> str:
    return f"{value!r} of type {type(value).__name__}"
