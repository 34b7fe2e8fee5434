"""The encoder protocol: texts to unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.registry import Registry

__all__ = ["ENCODERS", "Encoder"]


@runtime_checkable
class Encoder(Protocol):
    """Texts to unit vectors, batch first.

    An encoder may also have a `name`, which tells its vectors from those of any other encoder: a
    store of vectors needs it.
    """

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 vectors of length one, shape (n, d)."""
        ...


ENCODERS: Registry[Encoder] = Registry(
    "encoder", Encoder, "an object with encode(texts) or its name"
)
"""What stands for an encoder; its names are in `llm_wrappers.embeddings.resolve`."""
