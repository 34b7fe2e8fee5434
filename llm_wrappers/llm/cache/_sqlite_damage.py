"""Setting a damaged cache file aside, once, whoever of several processes finds it."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from llm_wrappers.errors import CacheCorruptError, CacheError
from llm_wrappers.llm.cache._sqlite_errors import NOT_A_DATABASE, code_of, is_damage

if sys.platform != "win32":
    import fcntl

__all__ = ["MALFORMED", "FileId", "WellAgainError", "file_id", "handle_damage"]

FileId = tuple[int, int]

MALFORMED = "database disk image is malformed"

_SIDE_FILES = ("-wal", "-shm")


class WellAgainError(CacheError):
    """The file gave an error, and a second look finds it well."""


def file_id(path: Path) -> FileId | None:
    """Return what identifies the file behind a path, or None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def handle_damage(
    error: sqlite3.Error, path: Path, *, found: FileId | None, read_only: bool
) -> CacheError:
    """Set a damaged file aside, unless it may not be or a second look finds it well.

    Args:
        error: What SQLite said.
        path: The file; no connection to it may be open here.
        found: The identity of the file that is damaged. Another process may have put a new one
            in its place meanwhile, which is left alone.
        read_only: Whether the file was opened for reading only; then it stays where it is.

    Returns:
        The exception to raise.
    """
    if code_of(error) == NOT_A_DATABASE and _is_export(path):
        return CacheError(
            f"expected an answer cache, got {path}, which looks like JSON lines; it was left "
            f"untouched; read it with `llm-wrappers cache import CACHE {path}`"
        )
    if read_only:
        return CacheCorruptError(
            f"the answer cache {path} is damaged ({error}); it was left where it is, because it "
            "was opened for reading only; import an export of it into a new cache"
        )
    if file_id(path) == found and not _is_still_damaged(path):
        return WellAgainError(
            f"the answer cache {path} gave an error ({error}) and is well at a second look; "
            "try again"
        )
    try:
        with _folder_lock(path.parent):
            aside = _set_aside(path) if file_id(path) == found else _whereabouts(path, found)
    except OSError as problem:
        return CacheCorruptError(
            f"the answer cache {path} is damaged ({error}) and cannot be renamed ({problem}); "
            "move it away yourself and import an export"
        )
    return CacheCorruptError(
        f"the answer cache {path} is damaged ({error}). It was set aside as {aside}; nothing was "
        "deleted. The next use begins an empty cache there: bring back what you exported with "
        f"`llm-wrappers cache import {path} EXPORT.jsonl`"
    )


def _is_export(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(1) == b"{"
    return False


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


def _whereabouts(path: Path, found: FileId | None) -> Path | str:
    names = (name for name in path.parent.iterdir() if name.name.startswith(f"{path.name}.corrupt"))
    return next((name for name in names if file_id(name) == found), "another name")
