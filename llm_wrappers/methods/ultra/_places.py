"""Where things are: files that can be written, and the states among observations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_wrappers.errors import GuidanceFileError, InvalidOptionError

__all__ = ["check_writable", "states_of"]


def check_writable(path: str | Path) -> None:
    """Say that a file cannot be written before anything is played or paid; make its folder.

    Raises:
        GuidanceFileError: If it is a folder, or its folder cannot be made or written.
    """
    target = Path(path)
    if target.is_dir():
        raise GuidanceFileError(f"expected a file for the table, got the folder {target}: name one")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GuidanceFileError(
            f"cannot make the folder of {target}: {error.strerror}; name another place"
        ) from error
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise GuidanceFileError(f"{target} may not be written; name another place")


def states_of(observations: Any, part: str | None) -> Any:
    """Return what states are looked up by: the observations, or a part of a Dict's.

    Raises:
        InvalidOptionError: If there is no such part, or none is given for a Dict.
    """
    if isinstance(observations, Mapping):
        if part not in observations:
            raise InvalidOptionError(
                f"expected part to be one of the observation's {sorted(observations)}, got {part!r}"
            )
        return observations[part]
    if part is not None:
        raise InvalidOptionError(f"part={part!r} is only for Dict observations")
    return observations
