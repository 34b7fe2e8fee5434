"""One SQLite file that threads and processes share: whose it is, forks, errors and damage."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from llm_wrappers.errors import (
    CacheCorruptError,
    CacheError,
)
from llm_wrappers.storage._sqlite_opening import (
    BUSY,
    CANNOT_OPEN,
    FULL,
    IO_ERROR,
    LOCKED,
    NOT_A_DATABASE,
    READ_ONLY,
    FileKind,
    Opening,
    OtherFileError,
    code_of,
    is_damage,
)
from llm_wrappers.storage.forks import call_around_forks

if sys.platform != "win32":
    import fcntl

__all__ = ["FileKind", "OtherFileError", "SqliteFile"]

_LOCKED_HINT = "another process kept it locked; end that process, or use another file"
_HINTS = {
    BUSY: _LOCKED_HINT,
    LOCKED: _LOCKED_HINT,
    FULL: "there is no space left on its disk; free some",
    IO_ERROR: "its disk failed or is full; check the disk, or move the file to a local one",
    CANNOT_OPEN: "check the permissions of the file and of its folder",
}
_MALFORMED = "database disk image is malformed"
_SIDE_FILES = ("-wal", "-shm", "-journal")

Result = TypeVar("Result")
_FileId = tuple[int, int]


class _WellAgainError(CacheError):
    """The file gave an error, and a second look finds it well."""


class SqliteFile:
    """One connection per process, behind a lock, opened when it is needed.

    A connection must not be in a process that forks: SQLite keeps its locks per process, and a
    child that has inherited them deletes the log under its parent, or has it deleted. So the
    connection is closed before a fork and opened again on both sides by the next use.

    A damaged file is set aside under another name, by whoever of several processes finds it first,
    and a new one begins at the next use. What is no damage leaves the file as it is.

    Args:
        path: The file; None for a database in memory, which a forked child gets a copy of.
        kind: What it holds.
        read_only: Whether to refuse every change.

    Raises:
        CacheError: From all methods, where the file cannot be used; says what to do.
    """

    def __init__(self, path: Path | None, kind: FileKind, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self.location = ":memory:" if path is None else str(path)
        self._kind = kind
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: sqlite3.Connection | None = None
        self._opened: _FileId | None = None
        self._follows_forks = False

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of a query."""
        return self._execute(sql, values)[0]

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement inside a transaction; return how many rows it changed."""
        return self._execute(sql, values)[1]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all other threads and processes from changing anything until the end.

        Raises:
            CacheReadOnlyError: If nothing may be changed.
            CacheError: If this thread has already begun one.
        """
        with self._lock:
            if self._connection is not None and self._connection.in_transaction:
                raise CacheError(
                    f"the {self._kind.name} {self.location} was changed from inside of `transact`; "
                    "change the cache before or after it"
                )
            if self.read_only:
                raise self._kind.read_only_error(self.location)
            try:
                self._execute("BEGIN IMMEDIATE")
                yield
                self._execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def shrink(self) -> None:
        """Give back the room of what was deleted."""
        # A script, because this statement does its work in steps that a query does not take.
        self._guarded(lambda connection: connection.executescript("PRAGMA incremental_vacuum"))

    def size(self) -> int:
        """Return the bytes that the database takes, its log included."""
        if self.path is None:
            ((pages,),), ((size,),) = self.rows("PRAGMA page_count"), self.rows("PRAGMA page_size")
            return int(pages * size)
        paths = (self.path, Path(f"{self.path}-wal"))
        return sum(path.stat().st_size for path in paths if path.exists())

    def close(self) -> None:
        """Close the connection; what is in memory stays."""
        with self._lock:
            if self.path is not None:
                self._disconnect()

    def _execute(self, sql: str, values: Sequence[Any] = ()) -> tuple[list[Any], int]:
        def execute(connection: sqlite3.Connection) -> tuple[list[Any], int]:
            cursor = connection.execute(sql, values)
            return cursor.fetchall(), cursor.rowcount

        return self._guarded(execute)

    def _guarded(self, use: Callable[[sqlite3.Connection], Result]) -> Result:
        with self._lock:
            in_transaction = self._connection is not None and self._connection.in_transaction
            try:
                return self._used(use)
            except _WellAgainError:
                # Another process has just exchanged the file. What a transaction has done so far
                # is lost, though, and only its owner can do it again.
                if in_transaction:
                    raise
                return self._used(use)

    def _used(self, use: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            return use(self._connected())
        except sqlite3.Error as error:
            raise self._explained(error) from error
        except UnicodeDecodeError as error:
            # SQLite's own message names a table or column whose name is broken.
            raise self._explained(sqlite3.DatabaseError(_MALFORMED)) from error

    def _explained(self, error: sqlite3.Error) -> CacheError:
        code = code_of(error)
        if self.path is not None and is_damage(error):
            self._disconnect()
            return self._handle_damage(error, self._real_path())
        if code == READ_ONLY:
            return self._kind.read_only_error(self.location)
        hint = _HINTS.get(code, "if nothing helps, export it and import into a new file")
        return CacheError(f"cannot use the {self._kind.name} {self.location}: {error}; {hint}")

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None:
            # Answers that go to a file without a name are lost.
            has_moved = self.path is not None and _file_id(self.path) != self._opened
            if self._connection.in_transaction or not has_moved:
                return self._connection
            self._disconnect()
        if not self._follows_forks:
            call_around_forks(self)
            self._follows_forks = True
        opening = Opening(self._kind)
        if self.path is None:
            self._connection = opening.in_memory()
            return self._connection
        path = self._real_path()
        self._opened = _file_id(path)
        self._connection = opening.file(path, read_only=self._reads_only())
        self._opened = _file_id(path)
        return self._connection

    def _real_path(self) -> Path:
        assert self.path is not None
        return self.path.resolve()

    def _reads_only(self) -> bool:
        path = self._real_path()
        # SQLite needs the folder as well.
        writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        return self.read_only or (os.path.exists(path) and not writable)

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def before_fork(self) -> None:
        """Wait for other threads and close the connection."""
        self._lock.acquire()
        if self._connection is not None and not self._connection.in_transaction:
            self.close()

    def after_fork_in_parent(self) -> None:
        """Let other threads in again."""
        # Not ours, if another thread opened this file when the fork had begun.
        with suppress(RuntimeError):
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Begin anew, without the threads of the parent."""
        self._lock = threading.RLock()
        if self.path is None:
            self._roll_back()
        else:
            # One is left only if the fork came inside of a transaction; it must not be touched.
            self._inherited, self._connection = self._connection, None

    def __del__(self) -> None:
        self._disconnect()

    def _handle_damage(self, error: sqlite3.Error, path: Path) -> CacheError:
        """Set the file aside, unless it may not be or a second look finds it well.

        No connection to it may be open here. Another process may have put a new file in its place
        meanwhile, which is left alone.
        """
        kind = self._kind
        what = f"the {kind.name} {path} is damaged ({error})"
        if code_of(error) == NOT_A_DATABASE and kind.is_foreign(_beginning(path)):
            return CacheError(
                f"expected {kind.article} {kind.name}, got {path}, "
                f"{kind.when_foreign.format(path=path)}"
            )
        if self._reads_only():
            return CacheCorruptError(
                f"{what}; it was left where it is, because it was opened for reading only; import "
                "an export of it into a new cache"
            )
        found = self._opened
        if _file_id(path) == found and not _is_still_damaged(path):
            return _WellAgainError(
                f"the {kind.name} {path} gave an error ({error}) and is well at a second look; "
                "try again"
            )
        try:
            with _folder_lock(path.parent):
                aside = _set_aside(path) if _file_id(path) == found else _whereabouts(path, found)
        except OSError as problem:
            return CacheCorruptError(
                f"{what} and cannot be renamed ({problem}); move it away yourself and import an "
                "export"
            )
        return CacheCorruptError(
            f"{what}. It was set aside as {aside}; nothing was deleted. The next use begins an "
            f"empty one there{kind.when_damaged.format(path=path)}"
        )


def _file_id(path: Path) -> _FileId | None:
    """Return what identifies the file behind a path, or None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _beginning(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        return file.read(16)
    return b""


def _is_still_damaged(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path.as_uri() + "?mode=rw", uri=True)) as connection:
            return connection.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]
    except sqlite3.Error as error:
        return is_damage(error)
    except UnicodeDecodeError:
        return True


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    # The folder and not the file: closing a second handle of a file would drop the locks that
    # SQLite holds on it in this process.
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot lock a folder; then the check of identity has to do.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _set_aside(path: Path) -> Path:
    stamp = f"{path}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}"
    aside, number = Path(stamp), 1
    while any(os.path.lexists(f"{aside}{suffix}") for suffix in ("", *_SIDE_FILES)):
        number += 1
        aside = Path(f"{stamp}-{number}")
    # The file itself last: whoever comes between finds it damaged still, and waits for the lock.
    for suffix in (*_SIDE_FILES, ""):
        with suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    return aside


def _whereabouts(path: Path, found: _FileId | None) -> Path | str:
    names = (name for name in path.parent.iterdir() if name.name.startswith(f"{path.name}.corrupt"))
    return next((name for name in names if _file_id(name) == found), "another name")
