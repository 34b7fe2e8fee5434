"""Which encoder a name stands for."""

from __future__ import annotations

import os
from weakref import WeakValueDictionary

from llm_wrappers.embeddings.cached import CachedEncoder
from llm_wrappers.embeddings.encoder import ENCODERS, Encoder
from llm_wrappers.embeddings.hashing import HashingEncoder
from llm_wrappers.embeddings.sentence_transformer import DEFAULT_MODEL, SentenceTransformerEncoder
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.registry import whole_in

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
        return ENCODERS.adapted(encoder)
    base, asks, query = encoder.partition("?")
    store = _store(encoder, query) if asks else ""
    shared = _SHARED.get((base, store))
    if shared is not None:
        return shared
    found = ENCODERS.resolve(base)
    if isinstance(found, HashingEncoder) and not store:
        return found
    return _SHARED.setdefault((base, store), CachedEncoder(found, store=store or None))


def _store(name: str, query: str) -> str:
    option, _, path = query.partition("=")
    if option != "store" or not path:
        raise InvalidOptionError(f"expected NAME?store=PATH, got {name!r}")
    return os.path.abspath(os.path.expanduser(path))


def _one_hot(rest: str) -> Encoder:
    raise UnknownNameError(
        "expected an encoder of any text, got 'one-hot', which only tells the goals of a "
        "vocabulary apart; choose 'hashing' or 'sentence-transformers'"
    )


def _hashing(rest: str) -> Encoder:
    return HashingEncoder(whole_in("hashing:DIMENSIONS", rest)) if rest else HashingEncoder()


def _sentence_transformer(rest: str) -> Encoder:
    return SentenceTransformerEncoder(rest or DEFAULT_MODEL)


# A wrapper makes one-hot vectors itself; the name is listed for who looks for it here.
ENCODERS.register("one-hot", _one_hot)
ENCODERS.register("hashing[:DIMENSIONS]", _hashing)
ENCODERS.register("sentence-transformers[:MODEL]", _sentence_transformer)
