"""Episode records on disk, in the format of Crafter's own recorder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np

from llm_wrappers.errors import GuidanceFileError, InvalidOptionError

__all__ = ["EpisodeLog", "read_episodes"]


class EpisodeLog:
    r"""Appends one JSON line per episode to a file, readable by Crafter's analysis scripts.

    Each line holds ``length``, ``reward`` (rounded to one decimal, as the official recorder does),
    one ``achievement_<name>`` per achievement, and then any extra keys. A line is flushed as soon
    as it is written. The file is opened at the first episode, so that a log can be made in one
    process and used in another; two processes must not append to one file.

    If a crash left half a line at the end of an existing file, that half is cut off before the
    first new line is appended.

    Args:
        path: The file to append to, by convention ``stats.jsonl``; missing folders are made.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "stats.jsonl")
    >>> with EpisodeLog(path) as log:
    ...     log.append(length=170, reward=1.12, achievements={"wake_up": 1}, env_steps=340)
    >>> path.read_text()
    '{"length": 170, "reward": 1.1, "achievement_wake_up": 1, "env_steps": 340}\n'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._file: TextIO | None = None

    def append(
        self, *, length: int, reward: float, achievements: Mapping[str, int], **extra: Any
    ) -> None:
        """Write the record of one finished episode.

        Args:
            length: The number of environment steps of the episode.
            reward: The sum of its extrinsic rewards.
            achievements: Achievement name, without a prefix, to the number of times it was reached.
            extra: Further JSON values, such as ``env_steps``, written after the official keys.

        Raises:
            InvalidOptionError: If an extra key looks like an achievement.
        """
        wrong = [key for key in extra if key.startswith("achievement_")]
        if wrong:
            raise InvalidOptionError(f"pass {wrong[0]!r} in achievements, not as an extra key")
        record = {"length": int(length), "reward": round(float(reward), 1)}
        record.update({f"achievement_{name}": int(count) for name, count in achievements.items()})
        line = json.dumps({**record, **extra}, default=_plain)
        if self._file is None:
            self._file = _open_for_append(self.path)
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> EpisodeLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        # An open file cannot travel to a worker process; the worker opens its own.
        return {**self.__dict__, "_file": None}


def read_episodes(path: str | Path) -> list[dict[str, Any]]:
    """Return the records of an episode log, oldest first.

    A last line that a crash or a running writer left unfinished (no line break, not yet a JSON
    object) is dropped silently; anything else that is not a record is an error.

    Args:
        path: A file written by `EpisodeLog` or by Crafter's own recorder.

    Raises:
        GuidanceFileError: If the file cannot be read, or a line is not a JSON object.
    """
    try:
        lines = Path(path).expanduser().read_bytes().split(b"\n")
    except OSError as error:
        raise GuidanceFileError(f"cannot read the episode log {path}: {error.strerror}") from error
    episodes = []
    for number, line in enumerate(lines, start=1):
        record = _record(line)
        if record is not None:
            episodes.append(record)
        elif line.strip() and number < len(lines):
            raise GuidanceFileError(
                f"{path}, line {number}: expected one JSON object per line, got {line[:60]!r}"
            )
    return episodes


def _record(line: bytes) -> dict[str, Any] | None:
    # A cut-off JSON object is never valid JSON, so what parses is complete.
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _open_for_append(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        _repair_last_line(path)
    return path.open("a", encoding="utf-8", buffering=1)


def _repair_last_line(path: Path) -> None:
    with path.open("r+b") as file:
        content = file.read()
        head, newline, tail = content.rpartition(b"\n")
        if not tail:
            return
        if _record(tail) is not None:
            file.write(b"\n")
        else:
            file.truncate(len(head) + len(newline))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise InvalidOptionError(f"an episode record holds JSON values only, got {value!r}")
