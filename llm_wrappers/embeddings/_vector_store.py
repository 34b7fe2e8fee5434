"""Vectors of texts in an SQLite file that processes share."""

from __future__ import annotations

import hashlib
import os
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import CacheError, CacheVersionError, GuidanceWarning, InvalidOptionError
from llm_wrappers.storage.sqlite_file import FileKind, OtherFileError, SqliteFile

__all__ = ["VectorStore", "Vectors", "other_dimensions"]

_HEADER = b"SQLite format 3\0"
# Below the number of values that the oldest SQLite takes in one statement.
_KEYS_AT_ONCE = 500
_VECTORS = FileKind(
    name="store of vectors",
    article="a",
    application_id=b"LLMV",
    version=1,
    schema=(
        "CREATE TABLE encoders (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, "
        "dimensions INTEGER NOT NULL)",
        "CREATE TABLE vectors (encoder INTEGER NOT NULL, text BLOB NOT NULL, "
        "vector BLOB NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (encoder, text))",
    ),
    when_read_only="or choose another file",
    when_damaged="",
    is_foreign=lambda beginning: beginning != _HEADER,
    when_foreign="which is no database; it was left untouched; choose another file",
)

Vectors = dict[str, NDArray[np.float32]]


class VectorStore:
    """A file of vectors by encoder and text; a file that fails stops nothing.

    What is damaged is found by its checksum and made again. `failures` says how many uses failed,
    and `damaged_rows` how many vectors were read that are not what was written.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(os.path.abspath(path))
        self._file = SqliteFile(self._path, _VECTORS)
        self._warned = False
        self.failures = 0
        self.damaged_rows = 0

    def read(self, encoder: str, texts: Sequence[str]) -> Vectors:
        """Return the vectors that are there, by text.

        Raises:
            InvalidOptionError: If the file is a database of something else.
        """
        # Nothing is made as long as there is nothing to keep.
        if not self._path.exists() or not self._path.stat().st_size:
            return {}
        return self._tried(lambda: self._found(encoder, texts)) or {}

    def write(self, encoder: str, vectors: Vectors) -> Vectors:
        """Store what is not there yet; return what is there now, or `vectors` if that failed.

        Raises:
            InvalidOptionError: If the file is a database of something else, or has vectors of
                another length from an encoder of this name.
        """

        def store() -> Vectors:
            with self._file.transaction():
                number = self._number(encoder, len(next(iter(vectors.values()))))
                there = self._found(encoder, list(vectors))
                for text, vector in vectors.items():
                    if text not in there:
                        row = (number, *_row(encoder, text, vector))
                        self._file.run("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", row)
            return {**vectors, **there}

        return self._tried(store) or dict(vectors)

    def _tried(self, use: Callable[[], Vectors]) -> Vectors | None:
        try:
            return use()
        except OtherFileError as error:
            raise InvalidOptionError(
                f"expected a store of vectors, got {str(self._path)!r}, which is another database; "
                "choose another file"
            ) from error
        except CacheVersionError as error:
            raise InvalidOptionError(str(error)) from error
        except (CacheError, OSError) as error:
            self.failures += 1
            self._warn(f"cannot be used ({error}); new vectors stay in memory until it can be")
            return None

    def _number(self, encoder: str, dimensions: int) -> int:
        self._file.run(
            "INSERT OR IGNORE INTO encoders (name, dimensions) VALUES (?, ?)", (encoder, dimensions)
        )
        ((number, held),) = self._file.rows(
            "SELECT id, dimensions FROM encoders WHERE name = ?", (encoder,)
        )
        if held != dimensions:
            raise other_dimensions(str(self._path), encoder, held=held, got=dimensions)
        return int(number)

    def _found(self, encoder: str, texts: Sequence[str]) -> Vectors:
        by_key = {_key(text): text for text in texts}
        keys, found = list(by_key), {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[start : start + _KEYS_AT_ONCE]
            for key, data, checksum, dimensions in self._file.rows(
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
