"""The encoder protocol: texts to unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.embeddings.hashing import HashingEncoder
from llm_wrappers.errors import InvalidOptionError, UnknownNameError

__all__ = ["Encoder", "resolve_encoder"]


@runtime_checkable
class Encoder(Protocol):
    """Texts to unit vectors, batch first."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 vectors of length one, shape (n, d)."""
        ...


def resolve_encoder(encoder: str | Encoder) -> Encoder:
    """Return the encoder that an object or a name stands for.

    Args:
        encoder: An object with ``encode(texts)``, ``"hashing"`` or ``"hashing:DIMENSIONS"``.

    Raises:
        UnknownNameError: If the name is not known.
        InvalidOptionError: If the object has no such method.

    >>> resolve_encoder("hashing:32").encode(["collect wood"]).shape
    (1, 32)
    """
    if isinstance(encoder, str):
        return _named(encoder)
    # A class has the methods of its objects, but encodes nothing.
    if isinstance(encoder, type) or not isinstance(encoder, Encoder):
        raise InvalidOptionError(
            f"expected an encoder with encode(texts) or its name, got {_kind(encoder)}"
        )
    return encoder


def _named(name: str) -> Encoder:
    prefix, _, dimensions = name.partition(":")
    if prefix != "hashing":
        raise UnknownNameError(f"expected one-hot, hashing or hashing:DIMENSIONS, got {name!r}")
    if not dimensions:
        return HashingEncoder()
    if not dimensions.isdecimal():
        raise InvalidOptionError(f"expected hashing:DIMENSIONS, a whole number, got {name!r}")
    return HashingEncoder(int(dimensions))


def _kind(value: Any) -> str:
    is_class = isinstance(value, type)
    return f"the class {value.__name__}; call it first" if is_class else f"a {type(value).__name__}"
