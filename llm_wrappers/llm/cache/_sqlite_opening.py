"""Opening the file of an answer cache: whose is it, which version, and may it be written."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from llm_wrappers.errors import CacheError, CacheReadOnlyError, CacheVersionError
from llm_wrappers.llm.cache._sqlite_errors import (
    BUSY,
    CANNOT_OPEN,
    IO_ERROR,
    PROTOCOL,
    READ_ONLY,
    code_of,
)

__all__ = ["can_be_written", "connect_file", "connect_memory"]

BUSY_SECONDS = 60.0

_APPLICATION_ID = int.from_bytes(b"LLMW", "big")
_VERSION = 1
_WHAT_IT_IS = """
    SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)
    FROM pragma_application_id, pragma_user_version
"""
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_SCHEMA = (
    """CREATE TABLE answers (
        key TEXT PRIMARY KEY,
        model TEXT NOT NULL,
        created REAL NOT NULL,
        tokens INTEGER NOT NULL,
        dollars REAL,
        line TEXT NOT NULL
    )""",
    "CREATE INDEX answers_by_age ON answers (created, key)",
    "CREATE TABLE failures (key TEXT PRIMARY KEY, expires REAL NOT NULL, body TEXT NOT NULL)",
    "CREATE TABLE claims (key TEXT PRIMARY KEY, expires REAL NOT NULL, owner TEXT NOT NULL)",
    "CREATE TABLE documents (name TEXT PRIMARY KEY, body TEXT NOT NULL)",
    # The number of answers is kept, because counting the rows takes longer the more there are.
    "CREATE TABLE totals (answers INTEGER NOT NULL)",
    "INSERT INTO totals VALUES (0)",
    """CREATE TRIGGER answer_came AFTER INSERT ON answers
        BEGIN UPDATE totals SET answers = answers + 1; END""",
    """CREATE TRIGGER answer_went AFTER DELETE ON answers
        BEGIN UPDATE totals SET answers = answers - 1; END""",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
)


def connect_memory() -> sqlite3.Connection:
    """Return a connection to a new cache in memory."""
    connection = _connected(":memory:")
    _create(connection)
    return connection


def connect_file(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Return a connection to a cache file; a missing one is created, unless it is only read.

    Raises:
        CacheError: If there is no such file to read, or it is something else.
        CacheReadOnlyError: If it has to be created and cannot be.
        CacheVersionError: If a newer version of this package wrote it.
        sqlite3.Error: If SQLite cannot open it, for example because it is damaged.
    """
    if os.path.isdir(path):
        raise CacheError(
            f"expected a file for the answer cache, got the folder {path}; name a file"
        )
    if read_only:
        return _connect_to_read(path)
    if not os.path.exists(path):
        _make_room_for(path)
    return _identified(_connected(f"{path.as_uri()}?mode=rwc"), path, create=True)


def can_be_written(path: Path) -> bool:
    """Return whether SQLite can write a file that exists: it needs its folder as well."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _make_room_for(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        kind = CacheReadOnlyError if error.errno in _NOT_ALLOWED else CacheError
        raise kind(
            f"cannot make the folder of the answer cache {path}: {error}; name another place"
        ) from error
    if not os.access(path.parent, os.W_OK):
        raise CacheReadOnlyError(
            f"cannot create the answer cache {path}: its folder cannot be written; allow that, or "
            "name another place"
        )


def _connect_to_read(path: Path) -> sqlite3.Connection:
    if not os.path.exists(path):
        raise CacheError(
            f"expected an answer cache to read, got {path}, which does not exist; check the name, "
            "or begin one with mode='record'"
        )
    uri = f"{path.as_uri()}?mode=ro"
    try:
        return _identified(_connected(uri), path, create=False)
    except sqlite3.OperationalError as error:
        if code_of(error) not in (CANNOT_OPEN, READ_ONLY):
            raise
        # Where SQLite cannot make the files beside it, a complete file is read as it is.
        log = Path(f"{path}-wal")
        if log.exists() and log.stat().st_size:
            raise CacheError(
                f"cannot read the answer cache {path}: its folder cannot be written and {log.name} "
                "holds answers that are not in the file yet; copy all its files to a folder that "
                "can be written"
            ) from error
    return _identified(_connected(f"{uri}&immutable=1"), path, create=False)


def _connected(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri,
        uri=uri.startswith("file:"),
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    # A flipped bit can make a text invalid; then its checksum says so, and not the decoder.
    connection.text_factory = _lenient_text
    return connection


def _lenient_text(data: bytes) -> str:
    return data.decode(errors="replace")


def _identified(connection: sqlite3.Connection, path: Path, *, create: bool) -> sqlite3.Connection:
    try:
        if _is_blank(connection, path):
            if not create:
                raise CacheError(f"the answer cache {path} is empty; nothing was ever put into it")
            connection = _with_log(connection, path)
            _create(connection, path)
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        connection.execute(f"PRAGMA synchronous = {'NORMAL' if mode == 'wal' else 'FULL'}")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_blank(connection: sqlite3.Connection, path: Path | str) -> bool:
    # One statement sees one state of the file, also while another process is creating it.
    owner, version, things = connection.execute(_WHAT_IT_IS).fetchone()
    if (owner, version, things) == (0, 0, 0):
        return True
    if owner != _APPLICATION_ID:
        raise CacheError(
            f"expected an answer cache, got {path}, which is a database of another program; it "
            "was left untouched; name another file"
        )
    if version > _VERSION:
        raise CacheVersionError(
            f"expected an answer cache of version {_VERSION}, got version {version} in {path}, "
            "which a newer version of this package wrote; it was left untouched; run "
            "`pip install --upgrade llm-wrappers`"
        )
    return False


def _create(connection: sqlite3.Connection, path: Path | str = ":memory:") -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        if _is_blank(connection, path):
            for statement in _SCHEMA:
                connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _with_log(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """Return a connection to a new file with a write-ahead log, where there can be one."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # The first use shows whether there is the shared memory that the log needs.
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return connection
        except sqlite3.OperationalError as error:
            if code_of(error) in (IO_ERROR, CANNOT_OPEN, PROTOCOL):
                connection.close()
                return _without_log(path)
            # SQLite does not wait for every lock itself when the mode changes.
            if code_of(error) != BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _without_log(path: Path) -> sqlite3.Connection:
    connection = _connected(f"{path.as_uri()}?mode=rw")
    try:
        # Alone with the file, SQLite needs no shared memory to change the mode.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA locking_mode = NORMAL")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection
