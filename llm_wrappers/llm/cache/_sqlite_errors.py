"""What an error of SQLite means for the caller."""

from __future__ import annotations

import sqlite3

from llm_wrappers.errors import CacheError, CacheReadOnlyError

__all__ = [
    "BUSY",
    "CANNOT_OPEN",
    "IO_ERROR",
    "NOT_A_DATABASE",
    "PROTOCOL",
    "READ_ONLY",
    "code_of",
    "explained",
    "is_damage",
    "read_only_error",
]

BUSY, LOCKED, READ_ONLY, IO_ERROR, CORRUPT, FULL, CANNOT_OPEN, PROTOCOL, NOT_A_DATABASE = (
    5, 6, 8, 10, 11, 13, 14, 15, 26,
)  # fmt: skip

_FRAGMENTS = {
    "is locked": BUSY,
    "readonly database": READ_ONLY,
    "disk I/O error": IO_ERROR,
    "malformed": CORRUPT,
    "disk is full": FULL,
    "unable to open database": CANNOT_OPEN,
    "locking protocol": PROTOCOL,
    "not a database": NOT_A_DATABASE,
}


def code_of(error: sqlite3.Error) -> int:
    """Return the primary result code of SQLite; 1 where it is not known.

    >>> code_of(sqlite3.DatabaseError("database disk image is malformed"))
    11
    """
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF
    # Python 3.10 has the message only.
    return next((code for text, code in _FRAGMENTS.items() if text in str(error)), 1)


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether SQLite says that the content of the file is broken.

    >>> is_damage(sqlite3.OperationalError("database is locked"))
    False
    """
    return code_of(error) in (CORRUPT, NOT_A_DATABASE)


def explained(error: sqlite3.Error, location: str) -> CacheError:
    """Return the exception for an error that is no damage; the file is left as it is."""
    code = code_of(error)
    if code == READ_ONLY:
        return read_only_error(location)
    hint = {
        BUSY: "another process kept it locked; end that process, or use another file",
        LOCKED: "another process kept it locked; end that process, or use another file",
        FULL: "there is no space left on its disk; free some",
        IO_ERROR: "its disk failed or is full; check the disk, or move the file to a local one",
        CANNOT_OPEN: "check the permissions of the file and of its folder",
    }.get(code, "if nothing helps, export it and import into a new file")
    return CacheError(f"cannot use the answer cache {location}: {error}; {hint}")


def read_only_error(location: str) -> CacheReadOnlyError:
    """Return the exception for writing where that is not possible."""
    return CacheReadOnlyError(
        f"expected an answer cache that can be written, got {location}, which is read-only or was "
        "opened with read_only=True; allow writing to the file and its folder, or copy the cache "
        "with `llm-wrappers cache import NEW_CACHE OLD_CACHE`"
    )
