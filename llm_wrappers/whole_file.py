"""Writing a text file whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from llm_wrappers.errors import GuidanceFileError

__all__ = ["write_whole"]


def write_whole(path: str | Path, text: str) -> None:
    """Write a file beside its place and move it there, so that nobody ever finds half of it.

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
    place = Path(path)
    beside = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, place)
    except OSError as error:
        raise GuidanceFileError(f"cannot write {path}: {error}; name another place") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
