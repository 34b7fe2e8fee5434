"""Goals that cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["BlankEncoder"]


class BlankEncoder:
    """Encodes every text as the same zero, so that a policy cannot see which goal it has.

    >>> BlankEncoder().encode(["collect wood", "eat cow"]).tolist()
    [[0.0], [0.0]]
    """

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return zeros of shape (n, 1); no unit vectors, on purpose."""
        return np.zeros((len(texts), 1), dtype=np.float32)
