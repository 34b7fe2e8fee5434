"""Vectors of texts in an SQLite file that processes share."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import GuidanceWarning, InvalidOptionError

__all__ = ["VectorStore", "other_dimensions"]

_APPLICATION = 0x4C4C4D56
_VERSION = 1
_HEADER = b"SQLite format 3\0"
_BUSY_SECONDS = 30.0
# Below the number of values that the oldest SQLite takes in one statement.
_KEYS_AT_ONCE = 500
_TABLES = (
    "CREATE TABLE IF NOT EXISTS encoders (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, "
    "dimensions INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS vectors (encoder INTEGER NOT NULL, text BLOB NOT NULL, "
    "vector BLOB NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (encoder, text))",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)

Vectors = dict[str, NDArray[np.float32]]


class VectorStore:
    """A file of vectors by encoder and text; a file that fails stops nothing.

    The file is opened for each use and closed again, so nothing is held over a fork, by a thread
    or while an encoder works. A process that is killed leaves what it had committed. Nothing waits
    for the disk: what a power failure damages is found by its checksum and made again.

    Args:
        path: The file; its folder is made if it is not there.

    Attributes:
        failures: How many uses failed.
        damaged_rows: How many vectors were read that are not what was written.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(os.path.abspath(path))
        self._warned = False
        self.failures = 0
        self.damaged_rows = 0

    def read(self, encoder: str, texts: Sequence[str]) -> Vectors:
        """Return the vectors that are there, by text.

        Raises:
            InvalidOptionError: If the file is a database of something else.
        """
        if not self._path.exists():
            return {}
        with self._guarded(), self._opened() as connection:
            if _is_empty(connection):
                return {}
            return self._found(connection, encoder, texts)
        return {}

    def write(self, encoder: str, vectors: Mapping[str, NDArray[np.float32]]) -> Vectors:
        """Store what is not there yet; return what is there now, or `vectors` if that failed.

        Raises:
            InvalidOptionError: If the file is a database of something else, or has vectors of
                another length from an encoder of this name.
        """
        with self._guarded():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as connection:
                connection.execute("BEGIN IMMEDIATE")
                if _is_empty(connection):
                    for statement in _TABLES:
                        connection.execute(statement)
                number = self._number(connection, encoder, len(next(iter(vectors.values()))))
                there = self._found(connection, encoder, list(vectors))
                connection.executemany(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)",
                    [
                        (number, *_row(encoder, text, vector))
                        for text, vector in vectors.items()
                        if text not in there
                    ],
                )
                connection.execute("COMMIT")
            return {**vectors, **there}
        return dict(vectors)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        found = _file_id(self._path)
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, InvalidOptionError):
                raise
            self.failures += 1
            # Exactly this class stands for a file that is damaged or no database.
            damaged = type(error) is sqlite3.DatabaseError
            aside = _set_aside(self._path, found) if damaged else None
            outcome = (
                "new vectors stay in memory and are not stored"
                if aside is None
                else f"it was set aside as {aside} and a new one begins at the next use"
            )
            self._warn(f"cannot be used ({type(error).__name__}: {error}); {outcome}")

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with closing(
            sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        ) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            self._check_kind(connection)
            yield connection

    def _check_kind(self, connection: sqlite3.Connection) -> None:
        if _is_empty(connection):
            return
        if _number_of(connection, "PRAGMA application_id") != _APPLICATION:
            raise InvalidOptionError(
                f"expected a store of vectors, got {str(self._path)!r}, which is another database; "
                "choose another file"
            )
        version = _number_of(connection, "PRAGMA user_version")
        if version > _VERSION:
            raise InvalidOptionError(
                f"expected a store of vectors of version {_VERSION}, got {str(self._path)!r} of "
                f"version {version}; update llm-wrappers or choose another file"
            )

    def _number(self, connection: sqlite3.Connection, encoder: str, dimensions: int) -> int:
        connection.execute(
            "INSERT OR IGNORE INTO encoders (name, dimensions) VALUES (?, ?)", (encoder, dimensions)
        )
        number, held = connection.execute(
            "SELECT id, dimensions FROM encoders WHERE name = ?", (encoder,)
        ).fetchone()
        if held != dimensions:
            raise other_dimensions(str(self._path), encoder, held=held, got=dimensions)
        return int(number)

    def _found(self, connection: sqlite3.Connection, encoder: str, texts: Sequence[str]) -> Vectors:
        by_key = {_key(text): text for text in texts}
        keys, found = list(by_key), {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[start : start + _KEYS_AT_ONCE]
            for key, data, checksum, dimensions in connection.execute(
                "SELECT text, vector, checksum, dimensions FROM vectors JOIN encoders "
                "ON encoders.id = vectors.encoder "
                f"WHERE encoders.name = ? AND text IN ({', '.join('?' * len(some))})",
                (encoder, *some),
            ):
                if len(data) == 4 * dimensions and checksum == _checksum(encoder, key, data):
                    found[by_key[key]] = np.frombuffer(data, dtype="<f4").astype(np.float32)
                else:
                    self.damaged_rows += 1
                    self._warn("has damaged vectors, which are encoded again")
        return found

    def _warn(self, problem: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the store of vectors {str(self._path)!r} {problem}; said once",
                GuidanceWarning,
                stacklevel=2,
            )


def other_dimensions(path: str, encoder: str, *, held: int, got: int) -> InvalidOptionError:
    """Return the error for an encoder that is not the one that the store knows by its name."""
    return InvalidOptionError(
        f"expected vectors of length {held} from {encoder!r}, which the store {path!r} holds, got "
        f"length {got}; choose another store, or another name for the encoder"
    )


def _key(text: str) -> bytes:
    # JSON can bring half a surrogate pair, which plain UTF-8 refuses.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _row(encoder: str, text: str, vector: NDArray[np.float32]) -> tuple[bytes, bytes, int]:
    key, data = _key(text), vector.astype("<f4").tobytes()
    return key, data, _checksum(encoder, key, data)


def _checksum(encoder: str, key: bytes, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(key, zlib.crc32(encoder.encode())))


def _is_empty(connection: sqlite3.Connection) -> bool:
    return _number_of(connection, "SELECT COUNT(*) FROM sqlite_master") == 0


def _number_of(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _file_id(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None


def _set_aside(path: Path, found: tuple[int, int] | None) -> Path | None:
    """Rename a damaged database; leave what was never one, and what another process put there."""
    with suppress(OSError):
        with path.open("rb") as file:
            if file.read(len(_HEADER)) != _HEADER:
                return None
        if _file_id(path) != found:
            return None
        aside = Path(f"{path}.damaged-{os.getpid()}")
        # Its journal first: it would be applied to the new file.
        with suppress(FileNotFoundError):
            os.replace(f"{path}-journal", f"{aside}-journal")
        os.replace(path, aside)
        return aside
    return None
