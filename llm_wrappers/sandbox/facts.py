"""The facts of one state as plain data, the only thing that planner code is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from llm_wrappers.errors import InvalidOptionError

__all__ = ["plain_facts"]

_SCALARS = frozenset({bool, int, float, str, type(None)})


def plain_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fresh dict of plain Python values; numpy scalars become their Python values.

    Raises:
        InvalidOptionError: If a fact is something else, such as an array.

    >>> import numpy as np
    >>> plain_facts({"wood": np.int64(3), "unlocked": ("eat_cow",)})
    {'wood': 3, 'unlocked': ('eat_cow',)}
    """
    return {
        str(name): value if type(value) in _SCALARS else _plain(name, value)
        for name, value in facts.items()
    }


def _plain(name: str, value: Any) -> Any:
    if type(value) in _SCALARS:
        return value
    if isinstance(value, np.generic):
        return _plain(name, value.item())
    if type(value) is tuple:
        return tuple(_plain(name, item) for item in value)
    if type(value) is list:
        return [_plain(name, item) for item in value]
    if type(value) is dict:
        return {_plain(name, key): _plain(name, item) for key, item in value.items()}
    raise InvalidOptionError(
        f"facts for planner code must be numbers, texts, None, or lists, tuples and dicts of "
        f"these; the fact {name!r} is a {type(value).__name__}"
    )
