"""The connection to the file of an answer cache."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from llm_wrappers.errors import CacheError
from llm_wrappers.llm.cache import _sqlite_errors
from llm_wrappers.llm.cache._sqlite_damage import (
    MALFORMED,
    FileId,
    WellAgainError,
    file_id,
    handle_damage,
)
from llm_wrappers.llm.cache._sqlite_opening import can_be_written, connect_file, connect_memory
from llm_wrappers.llm.cache._store_forks import call_around_forks

__all__ = ["SqliteFile"]

Result = TypeVar("Result")


class SqliteFile:
    """One connection per process, behind a lock, opened when it is needed.

    A connection must not be in a process that forks: SQLite keeps its locks per process, and a
    child that has inherited them deletes the log under its parent, or has it deleted. So the
    connection is closed before a fork and opened again on both sides by the next use.

    Args:
        path: The file; None for a database in memory, which a forked child gets a copy of.
        read_only: Whether to refuse every change.
    """

    def __init__(self, path: Path | None, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self.location = ":memory:" if path is None else str(path)
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: sqlite3.Connection | None = None
        self._opened: FileId | None = None
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
                    f"the answer cache {self.location} was changed from inside of `transact`; "
                    "change the cache before or after it"
                )
            if self.read_only:
                raise _sqlite_errors.read_only_error(self.location)
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
            except WellAgainError:
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
            raise self._explained(sqlite3.DatabaseError(MALFORMED)) from error

    def _explained(self, error: sqlite3.Error) -> CacheError:
        if self.path is None or not _sqlite_errors.is_damage(error):
            return _sqlite_errors.explained(error, self.location)
        self._disconnect()
        return handle_damage(
            error, self._real_path(), found=self._opened, read_only=self._reads_only()
        )

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None:
            if self.path is None or self._connection.in_transaction or not self._has_moved():
                return self._connection
            self._disconnect()
        if not self._follows_forks:
            call_around_forks(self)
            self._follows_forks = True
        if self.path is None:
            self._connection = connect_memory()
            return self._connection
        path = self._real_path()
        self._opened = file_id(path)
        self._connection = connect_file(path, read_only=self._reads_only())
        self._opened = file_id(path)
        return self._connection

    def _has_moved(self) -> bool:
        # Answers that go to a file without a name are lost.
        return self.path is not None and file_id(self.path) != self._opened

    def _real_path(self) -> Path:
        assert self.path is not None
        return self.path.resolve()

    def _reads_only(self) -> bool:
        path = self._real_path()
        return self.read_only or (os.path.exists(path) and not can_be_written(path))

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
