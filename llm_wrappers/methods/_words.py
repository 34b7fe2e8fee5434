"""Actions in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["action_in_words"]


def action_in_words(action: Any, names: Sequence[str]) -> str:
    """Return the name of an action, or its numbers with three digits.

    Args:
        action: An index, or any other action of a Gymnasium space.
        names: The names of the actions, by index; may be empty.

    >>> action_in_words(1, ("stick", "hit"))
    'hit'
    >>> action_in_words(np.array([0.12345, -1.0], np.float32), ())
    '0.123, -1'
    """
    values = np.asarray(action)
    if values.dtype.kind in "biu" and values.ndim == 0:
        index = int(values)
        return names[index] if 0 <= index < len(names) else f"action {index}"
    if values.dtype.kind in "biuf":
        return ", ".join(f"{value + 0.0:.3g}" for value in values.ravel().astype(float).tolist())
    return " ".join(str(action).split())
