"""The encoder protocol: texts to unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import InvalidOptionError

__all__ = ["Encoder", "checked_encoder"]


@runtime_checkable
class Encoder(Protocol):
    """Texts to unit vectors, batch first.

    An encoder may also have a `name`, which tells its vectors from those of any other encoder: a
    store of vectors needs it.
    """

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 vectors of length one, shape (n, d)."""
        ...


def checked_encoder(encoder: Any) -> Encoder:
    """Return the encoder.

    Raises:
        InvalidOptionError: If the object is none.
    """
    # A class has the methods of its objects, but encodes nothing; a text has an encode of its own.
    if isinstance(encoder, type | str) or not isinstance(encoder, Encoder):
        raise InvalidOptionError(
            f"expected an encoder with encode(texts) or its name, got {_kind(encoder)}"
        )
    return encoder


def _kind(value: Any) -> str:
    is_class = isinstance(value, type)
    if isinstance(value, str):
        return f"the name {value!r}; resolve_encoder gives its encoder"
    return f"the class {value.__name__}; call it first" if is_class else f"a {type(value).__name__}"
