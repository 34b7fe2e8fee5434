"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from llm_wrappers.errors import GuidanceFileError

__all__ = ["replacing", "write_whole"]


@contextmanager
def replacing(path: str | Path, *, error: type[OSError] = OSError) -> Iterator[IO[bytes]]:
    """Open a file beside `path` and let it take its place when all went well.

    Args:
        path: The file; missing folders are made, and a file that is there is replaced.
        error: What is raised if it cannot be written.

    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "tables" / "one.json"
    >>> with replacing(path) as file:
    ...     _ = file.write(b"{}")
    >>> [file.name for file in path.parent.iterdir()]
    ['one.json']
    """
    place = Path(path)
    beside = place.with_name(f".{place.name}.{secrets.token_hex(6)}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, place)
    except error:
        raise
    except OSError as problem:
        raise error(f"cannot write {path}: {problem}; name another place") from problem
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def write_whole(path: str | Path, text: str) -> None:
    """Write a text file as `replacing` does; raises `GuidanceFileError` if it cannot be written."""
    with replacing(path, error=GuidanceFileError) as file:
        file.write(text.encode())
