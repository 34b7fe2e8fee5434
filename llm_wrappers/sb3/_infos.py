"""The infos of a vector environment, taken apart into one dict per sub-environment."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from llm_wrappers.errors import IncompatibleEnvironmentError

__all__ = ["info_rows"]

# What needs no copy, because nobody can change it.
_IMMUTABLE = {type(None), bool, int, float, complex, str, bytes}


def info_rows(infos: Mapping[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Turn infos in the form of `gymnasium.vector` into one dict for each sub-environment.

    This runs at every step, so whole columns become Python lists at once; no single element is
    read through NumPy.

    Args:
        infos: Columns of ``num_envs`` values, which may be nested dicts of columns. A boolean
            column ``_key`` says which sub-environments have ``key``; without it all of them do.
        num_envs: The number of sub-environments.

    Returns:
        Dicts of new objects: NumPy scalars become Python scalars, arrays stay arrays.

    Raises:
        IncompatibleEnvironmentError: If a column does not have ``num_envs`` values.

    >>> info_rows({"steps": np.array([3, 0]), "_steps": np.array([True, False])}, 2)
    [{'steps': 3}, {}]
    """
    everywhere = b"\x01" * num_envs
    mask_keys = {key: f"_{key}" for key in infos}
    masks = set(mask_keys.values())
    full: dict[str, list[Any]] = {}
    partial: dict[str, tuple[list[Any], list[int]]] = {}
    for key, column in infos.items():
        if key in masks:
            continue
        mask = np.asarray(infos.get(mask_keys[key], True), np.bool_)
        # Comparing bytes is ten times as fast as `mask.all()` on so short an array.
        if mask.ndim == 0 or mask.tobytes() == everywhere:
            full[key] = _values(key, column, num_envs)
        else:
            partial[key] = _some_values(key, column, mask.nonzero()[0], num_envs)

    # Copies of a dict with all keys never grow, so filling them costs half of building them.
    template: dict[str, Any] = dict.fromkeys(full)
    rows = [template.copy() for _ in range(num_envs)]
    for key, values in full.items():
        for row, value in zip(rows, values, strict=True):
            row[key] = value
    for key, (values, present) in partial.items():
        for index, value in zip(present, values, strict=True):
            rows[index][key] = value
    return rows


def _values(key: str, column: Any, num_envs: int) -> list[Any]:
    """Return the values of one column as a list of ``num_envs`` new Python objects or arrays."""
    if isinstance(column, Mapping):
        return info_rows(column, num_envs)
    if isinstance(column, list | tuple) and len(column) == num_envs:
        return [_own(value) for value in column]
    array = np.asarray(column)
    if array.shape[:1] != (num_envs,):
        raise IncompatibleEnvironmentError(
            f"expected the info {key!r} to hold one value for each of {num_envs} sub-environments, "
            f"got shape {array.shape}; use an attribute for what describes all of them"
        )
    if array.dtype != object:
        return array.tolist() if array.ndim == 1 else list(array.copy())
    values = list(array)
    return values if _IMMUTABLE.issuperset(map(type, values)) else [_own(v) for v in values]


def _some_values(
    key: str, column: Any, present: np.ndarray[Any, Any], num_envs: int
) -> tuple[list[Any], list[int]]:
    """Return the values of a column that only some sub-environments have, and which these are."""
    indices: list[int] = present.tolist()
    if isinstance(column, np.ndarray) and column.shape[:1] == (num_envs,):
        return _values(key, column[present], len(indices)), indices
    values = _values(key, column, num_envs)
    return [values[index] for index in indices], indices


def _own(value: Any) -> Any:
    """Return a value that shares nothing mutable with the environment."""
    return value.item() if isinstance(value, np.generic) else deepcopy(value)
