"""Opening an SQLite file: whose is it, which version, and may it be written."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llm_wrappers.errors import CacheError, CacheReadOnlyError, CacheVersionError

__all__ = ["FileKind", "Opening", "OtherFileError", "code_of", "is_damage"]

BUSY_SECONDS = 60.0

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
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_WHAT_IT_IS = """
    SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)
    FROM pragma_application_id, pragma_user_version
"""


class OtherFileError(CacheError):
    """The file is a database of another program; it was left untouched."""


@dataclass(frozen=True)
class FileKind:
    """What a file holds, and what is said of it. In hints ``{path}`` stands for the file.

    Args:
        name: What to call it: ``"answer cache"``.
        article: ``"a"`` or ``"an"``.
        application_id: Four letters by which SQLite files of this kind are known.
        version: Of the tables; files of a later one are refused.
        schema: The statements that make the tables.
        when_read_only: What to do where it has to be written and cannot be.
        when_damaged: How to bring back what a damaged file held.
        is_foreign: Whether what is no database begins like somebody's work, and is left untouched.
        when_foreign: What that is, and what to do.
    """

    name: str
    article: str
    application_id: bytes
    version: int
    schema: Sequence[str]
    when_read_only: str
    when_damaged: str
    is_foreign: Callable[[bytes], bool]
    when_foreign: str

    @property
    def number(self) -> int:
        """The application id as SQLite keeps it."""
        return int.from_bytes(self.application_id, "big")

    def read_only_error(self, location: str) -> CacheReadOnlyError:
        """Return the exception for writing where that is not possible."""
        return CacheReadOnlyError(
            f"expected {self.article} {self.name} that can be written, got {location}, which is "
            "read-only or was opened with read_only=True; allow writing to the file and its "
            f"folder, {self.when_read_only}"
        )


class Opening:
    """Opens files of one kind: whose is it, which version, and may it be written."""

    def __init__(self, kind: FileKind) -> None:
        self._kind = kind

    def in_memory(self) -> sqlite3.Connection:
        connection = _connect(":memory:")
        self._create(connection, ":memory:")
        return connection

    def file(self, path: Path, *, read_only: bool) -> sqlite3.Connection:
        """Return a connection to a file; a missing one is created, unless it is only read."""
        if os.path.isdir(path):
            raise CacheError(
                f"expected a file for the {self._kind.name}, got the folder {path}; name a file"
            )
        if read_only:
            return self._to_read(path)
        if not os.path.exists(path):
            self._make_room_for(path)
        return self._identified(_connect(f"{path.as_uri()}?mode=rwc"), path, create=True)

    def _make_room_for(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            kind = CacheReadOnlyError if error.errno in _NOT_ALLOWED else CacheError
            raise kind(
                f"cannot make the folder of the {self._kind.name} {path}: {error}; name another "
                "place"
            ) from error
        if not os.access(path.parent, os.W_OK):
            raise CacheReadOnlyError(
                f"cannot create the {self._kind.name} {path}: its folder cannot be written; allow "
                "that, or name another place"
            )

    def _to_read(self, path: Path) -> sqlite3.Connection:
        if not os.path.exists(path):
            raise CacheError(
                f"expected {self._kind.article} {self._kind.name} to read, got {path}, which does "
                "not exist; check the name, or begin one with mode='record'"
            )
        uri = f"{path.as_uri()}?mode=ro"
        try:
            return self._identified(_connect(uri), path, create=False)
        except sqlite3.OperationalError as error:
            if code_of(error) not in (CANNOT_OPEN, READ_ONLY):
                raise
            # Where SQLite cannot make the files beside it, a complete file is read as it is.
            log = Path(f"{path}-wal")
            if log.exists() and log.stat().st_size:
                raise CacheError(
                    f"cannot read the {self._kind.name} {path}: its folder cannot be written and "
                    f"{log.name} holds answers that are not in the file yet; copy all its files to "
                    "a folder that can be written"
                ) from error
        return self._identified(_connect(f"{uri}&immutable=1"), path, create=False)

    def _identified(
        self, connection: sqlite3.Connection, path: Path, *, create: bool
    ) -> sqlite3.Connection:
        try:
            if self._is_blank(connection, path):
                if not create:
                    raise CacheError(
                        f"the {self._kind.name} {path} is empty; nothing was ever put into it"
                    )
                connection = _with_log(connection, path)
                self._create(connection, path)
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            connection.execute(f"PRAGMA synchronous = {'NORMAL' if mode == 'wal' else 'FULL'}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _is_blank(self, connection: sqlite3.Connection, path: Path | str) -> bool:
        # One statement sees one state of the file, also while another process is creating it.
        owner, version, things = connection.execute(_WHAT_IT_IS).fetchone()
        if (owner, version, things) == (0, 0, 0):
            return True
        expected = f"expected {self._kind.article} {self._kind.name}"
        if owner != self._kind.number:
            raise OtherFileError(
                f"{expected}, got {path}, which is a database of another program; it was left "
                "untouched; name another file"
            )
        if version > self._kind.version:
            raise CacheVersionError(
                f"{expected} of version {self._kind.version}, got version {version} in {path}, "
                "which a newer version of this package wrote; it was left untouched; run "
                "`pip install --upgrade llm-wrappers`"
            )
        return False

    def _create(self, connection: sqlite3.Connection, path: Path | str) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have been faster.
            if self._is_blank(connection, path):
                for statement in self._kind.schema:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {self._kind.number}")
                connection.execute(f"PRAGMA user_version = {self._kind.version}")
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise


def code_of(error: sqlite3.Error) -> int:
    """Return the primary result code of SQLite; 1 where it is not known."""
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF
    # Python 3.10 has the message only.
    return next((code for text, code in _FRAGMENTS.items() if text in str(error)), 1)


def is_damage(error: sqlite3.Error) -> bool:
    return code_of(error) in (CORRUPT, NOT_A_DATABASE)


def _connect(uri: str) -> sqlite3.Connection:
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
    connection = _connect(f"{path.as_uri()}?mode=rw")
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
