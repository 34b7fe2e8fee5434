"""Whether the environment says that an action succeeded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError

__all__ = ["checked_success_key", "successes"]


def successes(infos: Mapping[str, Any], key: str, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return whether the actions succeeded, shape (len(rows),).

    Args:
        infos: In the form of gymnasium.vector.
        key: The entry that says so.
        rows: Which sub-environments took a step.

    Raises:
        IncompatibleEnvironmentError: If the entry is missing in one of them.
    """
    if not len(rows):
        return np.zeros(0, dtype=np.bool_)
    present = np.asarray(infos.get(f"_{key}", True))
    there = key in infos and bool(present.all() if present.ndim == 0 else present[rows].all())
    if not there:
        known = sorted(name for name in infos if not name.startswith("_"))
        raise IncompatibleEnvironmentError(
            f"expected info[{key!r}] at every step, because success_key names it, got {known}; "
            "name an entry that this environment has, or leave success_key=None"
        )
    return np.asarray(infos[key])[rows].astype(np.bool_)


def checked_success_key(key: Any) -> str | None:
    """Return the key, or say what it must be."""
    if key is not None and not (isinstance(key, str) and key):
        raise InvalidOptionError(f"success_key must be None or a non-empty string, got {key!r}")
    return key
