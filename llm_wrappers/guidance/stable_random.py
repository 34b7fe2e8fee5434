"""Random numbers that depend on what they are for, and on nothing else."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

__all__ = ["stable_uniform"]

_BITS = 53


def stable_uniform(seed: int, *parts: Any) -> float:
    """Return a number in [0, 1) that is random but fixed for its arguments, in any process.

    Args:
        seed: Another seed gives other numbers.
        parts: What the number is for: anything that JSON can hold, mappings and arrays included.

    >>> stable_uniform(0, {"x": 1}) == stable_uniform(0, {"x": 1})
    True
    >>> stable_uniform(0, {"x": 1}) == stable_uniform(0, {"x": 2})
    False
    """
    # Not hash(): it differs between processes.
    text = json.dumps([seed, *parts], sort_keys=True, default=_plain)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - _BITS)) / (1 << _BITS)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return dict(value) if hasattr(value, "keys") else str(value)
