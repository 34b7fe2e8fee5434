"""The encoder protocol: what goes into an encoder, and what has to come out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import GuidanceError, InvalidOptionError
from llm_wrappers.registry import Registry

__all__ = ["ENCODERS", "Encoder", "checked_texts", "checked_vectors"]


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


# Far above what rounding does to a unit vector, far below what a forgotten normalisation does.
_LENGTH_TOLERANCE = 1e-3


def checked_texts(texts: Sequence[str]) -> list[str]:
    """Return the texts as a list."""
    if isinstance(texts, str):
        raise InvalidOptionError(f"expected a list of texts, got the one text {texts!r}")
    listed = list(texts)
    for text in listed:
        if not isinstance(text, str):
            raise InvalidOptionError(f"expected texts, got {text!r} of {type(text).__name__}")
    return listed


def checked_vectors(
    vectors: Any, *, count: int, dimensions: int | None, owner: str
) -> NDArray[np.float32]:
    """Return what an encoder gave as float32, shape (count, dimensions)."""
    try:
        rows: NDArray[np.float32] = np.array(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise GuidanceError(
            f"expected vectors from {owner}, got a {type(vectors).__name__} ({error})"
        ) from error
    width = "d" if dimensions is None else dimensions
    if rows.ndim != 2 or len(rows) != count or dimensions not in (None, rows.shape[1]):
        raise GuidanceError(
            f"expected vectors of shape ({count}, {width}) from {owner}, got shape {rows.shape}"
        )
    if not np.isfinite(rows).all():
        raise GuidanceError(f"expected finite vectors from {owner}, got NaN or infinity")
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    worst = int(np.abs(lengths - 1.0).argmax()) if count else 0
    if count and abs(lengths[worst] - 1.0) > _LENGTH_TOLERANCE:
        raise GuidanceError(
            f"expected vectors of length 1 from {owner}, got one of length {lengths[worst]:.4g}; "
            "divide each by its length"
        )
    return rows
