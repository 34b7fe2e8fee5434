"""Which encoder a name stands for."""

from __future__ import annotations

import os
from weakref import WeakValueDictionary

from llm_wrappers.embeddings._model_source import DEFAULT_MODEL
from llm_wrappers.embeddings.cached import CachedEncoder
from llm_wrappers.embeddings.encoder import Encoder, checked_encoder
from llm_wrappers.embeddings.hashing import HashingEncoder
from llm_wrappers.embeddings.sentence_transformer import SentenceTransformerEncoder
from llm_wrappers.errors import InvalidOptionError, UnknownNameError

__all__ = ["resolve_encoder"]

# Equal names give one encoder for as long as somebody holds it: a model is large, and what one
# wrapper has encoded the others need not encode again. An encoder is a function of its name alone.
_SHARED: WeakValueDictionary[tuple[str, str], CachedEncoder] = WeakValueDictionary()


def resolve_encoder(encoder: str | Encoder) -> Encoder:
    """Return the encoder that an object or a name stands for.

    ==================================  =======================================================
    name                                encoder
    ==================================  =======================================================
    ``hashing``                         `HashingEncoder`, 256 dimensions
    ``hashing:DIMENSIONS``              the same with other dimensions
    ``sentence-transformers``           `SentenceTransformerEncoder`, remembered in memory
    ``sentence-transformers:MODEL``     the same with another model, by its name or folder
    ``NAME?store=PATH``                 any of these with a store of vectors in a file
    ==================================  =======================================================

    Where vectors are remembered, equal names give the same `CachedEncoder` within a process while
    it is in use, so that several wrappers share one model.

    Args:
        encoder: An object with ``encode(texts)``, or a name.

    Raises:
        UnknownNameError: If the name is not known.
        InvalidOptionError: If the object has no such method, or the name says what it cannot say.

    >>> resolve_encoder("hashing:32").encode(["collect wood"]).shape
    (1, 32)
    """
    if not isinstance(encoder, str):
        return checked_encoder(encoder)
    base, asks, query = encoder.partition("?")
    store = _store(encoder, query) if asks else ""
    kind = base.partition(":")[0]
    if kind not in ("hashing", "sentence-transformers"):
        raise UnknownNameError(
            "expected one-hot, hashing, sentence-transformers, sentence-transformers:MODEL or "
            f"hashing:DIMENSIONS, got {encoder!r}"
        )
    if kind == "hashing" and not store:
        return _hashing(base)
    shared = _SHARED.get((base, store))
    if shared is None:
        inner = _hashing(base) if kind == "hashing" else _sentence_transformer(base)
        shared = _SHARED.setdefault((base, store), CachedEncoder(inner, store=store or None))
    return shared


def _store(name: str, query: str) -> str:
    option, _, path = query.partition("=")
    if option != "store" or not path:
        raise InvalidOptionError(f"expected NAME?store=PATH, got {name!r}")
    return os.path.abspath(os.path.expanduser(path))


def _hashing(name: str) -> HashingEncoder:
    _, colon, dimensions = name.partition(":")
    if not dimensions and not colon:
        return HashingEncoder()
    if not dimensions.isdecimal():
        raise InvalidOptionError(f"expected hashing:DIMENSIONS, a whole number, got {name!r}")
    return HashingEncoder(int(dimensions))


def _sentence_transformer(name: str) -> SentenceTransformerEncoder:
    _, colon, model = name.partition(":")
    if colon and not model:
        raise InvalidOptionError(f"expected sentence-transformers:MODEL, got {name!r}")
    return SentenceTransformerEncoder(model or DEFAULT_MODEL)
