"""The answer cache: answers by key, in SQLite, Redis or memory."""

from __future__ import annotations

import os
from typing import TypeAlias

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.cache.redis_store import RedisStore
from llm_wrappers.llm.cache.sqlite_store import SqliteStore
from llm_wrappers.llm.cache.store import AnswerStore

__all__ = ["Cache", "open_store"]

Cache: TypeAlias = "str | os.PathLike[str] | AnswerStore | None"
"""A path of an SQLite file, a Redis URL, a store object, or None for memory."""

_REDIS = ("redis", "rediss", "unix")


def open_store(
    cache: Cache, *, max_entries: int | None = None, read_only: bool = False
) -> AnswerStore:
    """Return the answer cache that an option names; nothing is opened before its first use.

    Args:
        cache: None keeps answers in memory, for this object only. A path is an SQLite file, a
            text that begins with ``redis://``, ``rediss://`` or ``unix://`` a Redis server. A
            store is returned as it is, with the options it was made with.
        max_entries: Beyond this number the oldest answers are deleted; None keeps all.
        read_only: Whether to refuse every change.

    Raises:
        InvalidOptionError: If it is nothing of that, or if `max_entries` is given with a store.

    >>> open_store(None)
    SqliteStore(':memory:')
    >>> open_store("redis://:secret@localhost/3")
    RedisStore('redis://localhost:6379/3')
    """
    if cache is None:
        return SqliteStore(":memory:", max_entries=max_entries, read_only=read_only)
    if isinstance(cache, (str, os.PathLike)):
        scheme, separator, _ = os.fspath(cache).partition("://")
        if not separator:
            return SqliteStore(cache, max_entries=max_entries, read_only=read_only)
        if scheme in _REDIS:
            return RedisStore(os.fspath(cache), max_entries=max_entries, read_only=read_only)
        # What follows the scheme may hold a password.
        raise InvalidOptionError(
            "cache must be the path of a file, or a URL that begins with redis://, rediss:// or "
            f"unix://, got a URL that begins with {scheme}://"
        )
    if not isinstance(cache, AnswerStore):
        raise InvalidOptionError(
            "cache must be None, the path of a file, a Redis URL, or an object with the methods "
            f"of llm_wrappers.llm.AnswerStore, got {type(cache).__name__}"
        )
    if max_entries is not None:
        raise InvalidOptionError(
            f"max_entries={max_entries} cannot be set on a store that exists already, got "
            f"{type(cache).__name__}; give it to the store"
        )
    return cache
