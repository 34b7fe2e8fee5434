"""An encoder without a model: hashed words and letter triples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks

__all__ = ["HashingEncoder"]


class HashingEncoder:
    """Unit vectors from hashed words and letter triples; no model, no dependency.

    Texts that share words or parts of words are similar; meaning is not understood. The vectors
    are the same on every machine and in every process.

    Args:
        dimensions: The length of a vector, at least 8.

    Raises:
        InvalidOptionError: If there are fewer dimensions.

    >>> wood, wooden, water = HashingEncoder().encode(["collect wood", "collect wooden", "drink"])
    >>> bool(wood @ wooden > wood @ water)
    True
    """

    def __init__(self, dimensions: int = 256) -> None:
        self.dimensions: int = checks.whole("dimensions", dimensions, least=8)

    @property
    def name(self) -> str:
        """What tells its vectors from those of any other encoder."""
        return f"hashing:{self.dimensions}"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text, shape (n, dimensions)."""
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for part in _parts(text):
                # JSON can bring half a surrogate pair, which plain UTF-8 refuses.
                data = part.encode("utf-8", "surrogatepass")
                number = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
                row[(number >> 1) % self.dimensions] += 1.0 if number & 1 else -1.0
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        # Signed parts can cancel out, and an empty text has none: such a text gets a fixed axis.
        vectors[lengths[:, 0] == 0, 0] = 1.0
        lengths[lengths == 0] = 1.0
        unit: NDArray[np.float32] = vectors / lengths
        return unit


def _parts(text: str) -> list[str]:
    words = text.lower().split()
    padded = [f" {word} " for word in words]
    triples = [word[i : i + 3] for word in padded for i in range(len(word) - 2)]
    return [*padded, *triples]
