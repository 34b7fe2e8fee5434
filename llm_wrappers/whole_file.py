"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from llm_wrappers.errors import GuidanceFileError

__all__ = ["whole_file", "write_whole"]


@contextmanager
def whole_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file beside its place and move it there at the end, so that nobody finds half of it.

    Args:
        path: The file; one that is there is replaced.

    Raises:
        OSError: If it cannot be written; what was there stays.
    """
    place = Path(path)
    beside = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, place)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def write_whole(path: str | Path, text: str) -> None:
    """Write a text to a file, whole or not at all.

    Args:
        path: The file; missing folders are made, and a file that is there is replaced.
        text: What it will hold.

    Raises:
        GuidanceFileError: If it cannot be written.

    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "tables" / "one.json"
    >>> write_whole(path, "{}")
    >>> [file.name for file in path.parent.iterdir()]
    ['one.json']
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise GuidanceFileError(f"cannot write {path}: {error}; name another place") from error
