"""Answers in a file of JSON lines that a person can read, diff, share and merge."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

from llm_wrappers.errors import CacheError, CacheVersionError
from llm_wrappers.llm.cache.sqlite_store import SqliteStore
from llm_wrappers.llm.cache.store import (
    AnswerStore,
    DamagedAnswerError,
    Record,
    line_of,
    record_of,
)
from llm_wrappers.storage.whole_file import replacing

__all__ = ["ImportReport", "Progress", "export_answers", "import_answers", "write_answers"]

Progress: TypeAlias = Callable[[Iterable[Any]], Iterable[Any]]
"""Passes items on and shows how far it is, such as `tqdm.tqdm`."""


@dataclass(frozen=True)
class ImportReport:
    """What came out of an import.

    Args:
        added: How many answers are new in the cache, or replaced a damaged one.
        already_there: For how many requests the cache had an answer; it kept its own.
        rejected: Why the others were left out, each with the place where it stands.
    """

    added: int
    already_there: int
    rejected: tuple[str, ...] = ()


def export_answers(
    store: AnswerStore, path: str | os.PathLike[str], *, progress: Progress = iter
) -> int:
    """Write all answers to a file, one JSON object a line in the order of their keys.

    The same answers give the same bytes. The file is complete or not there at all; one that was
    there is replaced.

    Args:
        store: The answer cache.
        path: The file; its folder is created where needed.
        progress: Shows how far the export is.

    Returns:
        How many answers were written.

    Raises:
        CacheError: If the file cannot be written, or is the cache itself.
        CacheCorruptError: If an answer is damaged; nothing was written.
    """
    target = Path(path).expanduser().resolve()
    if _is_same_file(target, store.location):
        raise CacheError(f"expected a file to export to, got {path}, which is the cache itself")
    with replacing(target, error=CacheError) as file:
        return write_answers(store, file, progress=progress)


def write_answers(store: AnswerStore, file: IO[bytes], *, progress: Progress = iter) -> int:
    """Write all answers to an open file; return how many.

    Raises:
        CacheCorruptError: If an answer is damaged.

    >>> import io
    >>> write_answers(SqliteStore(":memory:"), io.BytesIO())
    0
    """
    written = 0
    for record in progress(store.records()):
        file.write(line_of(record).encode() + b"\n")
        written += 1
    return written


def import_answers(
    store: AnswerStore, path: str | os.PathLike[str], *, progress: Progress = iter
) -> ImportReport:
    """Add the answers of an export, or of another cache file, that the cache does not have.

    An answer that is there stays: importing twice, or in another order of files, bills nobody
    and loses nothing. Each answer is checked against its checksum and its key; what does not
    hold is left out and reported.

    Args:
        store: The answer cache.
        path: A file that `export_answers` wrote, or the SQLite file of another cache.
        progress: Shows how far the import is.

    Raises:
        CacheError: If there is no such file, or it cannot be read.
    """
    source = Path(path).expanduser()
    if not source.is_file():
        what = "a folder" if source.is_dir() else "nothing by that name"
        raise CacheError(f"expected an export or a cache file to import, got {what}: {source}")
    found = _of_cache(source) if _is_sqlite(source) else _of_lines(source)
    added = already_there = 0
    rejected = []
    for place, record in progress(found):
        if isinstance(record, str):
            rejected.append(f"{place}: {record}")
        elif _has(store, record.key):
            already_there += 1
        else:
            store.put(record)
            added += 1
    return ImportReport(added, already_there, tuple(rejected))


def _has(store: AnswerStore, key: str) -> bool:
    try:
        return store.get(key) is not None
    except DamagedAnswerError:
        # The import is how a damaged answer is brought back.
        return False


def _of_lines(path: Path) -> Iterator[tuple[str, Record | str]]:
    """Yield each line's place with its record, or with the reason why it has none."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"line {number}", _record_or_reason(line)
    except OSError as error:
        raise CacheError(f"cannot read {path}: {error}") from error


def _record_or_reason(line: bytes) -> Record | str:
    try:
        return record_of(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "it is not text in UTF-8"
    except (ValueError, CacheVersionError) as error:
        return str(error)


def _of_cache(path: Path) -> Iterator[tuple[str, Record | str]]:
    with closing(SqliteStore(path, read_only=True)) as other:
        for key in other.keys():  # noqa: SIM118 - a store is no mapping
            try:
                record = other.get(key)
            except (DamagedAnswerError, CacheVersionError) as error:
                yield f"key {key}", str(error)
            else:
                if record is not None:
                    yield f"key {key}", record


def _is_sqlite(path: Path) -> bool:
    # SQLite looks itself: closing a file that it has open would drop its locks in this process.
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.DatabaseError as error:
        return "not a database" not in str(error)
    return path.stat().st_size > 0


def _is_same_file(path: Path, location: str) -> bool:
    try:
        return os.path.samefile(path, location)
    except OSError:
        return False
