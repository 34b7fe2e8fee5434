"""Episode records on disk, in the format of Crafter's recorder, and the score of its benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from llm_wrappers.errors import GuidanceFileError, InvalidOptionError

__all__ = ["EpisodeLog", "crafter_score", "official_score", "read_episodes", "success_rates"]

_PREFIX = "achievement_"


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
        wrong = [key for key in extra if key.startswith(_PREFIX)]
        if wrong:
            raise InvalidOptionError(f"pass {wrong[0]!r} in achievements, not as an extra key")
        record = {"length": int(length), "reward": round(float(reward), 1)}
        record.update({f"{_PREFIX}{name}": int(count) for name, count in achievements.items()})
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


def crafter_score(
    success_rates: Mapping[str, float] | Sequence[float] | npt.NDArray[np.floating],
) -> float:
    """Return the geometric mean of success rates with an offset of one percentage point.

    The score is exp(mean(ln(1 + p))) - 1, so rare achievements count as much as common ones.
    Crafter has 22 achievements; an achievement never unlocked must be present with a rate of 0.

    Args:
        success_rates: One rate per achievement, in percent (0 to 100), in any order.

    Returns:
        A number from 0 to 100, between the lowest and the highest rate.

    Raises:
        InvalidOptionError: If there is no rate, or one is not in the range of 0 to 100.

    >>> round(crafter_score([100.0] * 22), 1)
    100.0
    >>> round(crafter_score([100.0] * 21 + [0.0]), 1)
    80.9
    """
    values = success_rates.values() if isinstance(success_rates, Mapping) else success_rates
    rates = np.asarray(list(values), dtype=np.float64)
    if rates.ndim != 1 or rates.size == 0:
        raise InvalidOptionError(
            f"success_rates must be one number per achievement, got an array of shape {rates.shape}"
        )
    if not np.all((rates >= 0) & (rates <= 100)):
        raise InvalidOptionError(f"success_rates must be percentages in 0..100, got {rates}")
    return float(np.expm1(np.mean(np.log1p(rates))))


def success_rates(episodes: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return how often each achievement was unlocked, in percent of the episodes.

    An episode succeeds if it unlocked the achievement at least once.

    Args:
        episodes: Records in the format of Crafter's own recorder; each key
            ``"achievement_<name>"`` holds a count. A key missing from a record counts as 0.

    Returns:
        Achievement name (without the prefix) to percentage, sorted by name.

    Raises:
        InvalidOptionError: If there are no episodes, or none of them has an achievement key.

    >>> success_rates([{"achievement_eat_cow": 2}, {"achievement_eat_cow": 0}])
    {'eat_cow': 50.0}
    """
    unlocks: dict[str, int] = {}
    total = 0
    for episode in episodes:
        total += 1
        for key, count in episode.items():
            if key.startswith(_PREFIX):
                name = key[len(_PREFIX) :]
                unlocks[name] = unlocks.get(name, 0) + (count >= 1)
    if not unlocks:
        raise InvalidOptionError(
            f"episodes must hold at least one record with '{_PREFIX}<name>' keys, "
            f"got {total} records without any"
        )
    return {name: 100.0 * unlocks[name] / total for name in sorted(unlocks)}


def official_score(episodes: Iterable[Mapping[str, Any]], budget: float | None = None) -> float:
    """Return the Crafter score of one training run over its training episodes.

    "All training episodes" are the ones the learning agent played from its first step on, with
    exploration, early failures included. The benchmark asks for those within the first million
    environment steps. The score of a trained policy in separate evaluation episodes is higher and
    must not be listed beside it.

    Args:
        episodes: The records of one run in the order in which the episodes ended; each holds its
            ``"length"`` in environment steps.
        budget: The number of environment steps of the benchmark. An episode counts if it ends
            within the budget, steps being summed over the lengths of the records. None counts
            every episode. With several sub-environments, steps of unfinished episodes are not
            in that sum, as in the authors' own analysis.

    Returns:
        A number from 0 to 100. Average it over seeds, never pool the episodes of several seeds.

    Raises:
        InvalidOptionError: If the budget is not positive, or no episode ends within it.

    >>> early, late = {"length": 60, "achievement_sleep": 0}, {"length": 60, "achievement_sleep": 1}
    >>> round(official_score([early, late]), 6)
    50.0
    >>> official_score([early, late], budget=100)
    0.0
    """
    if budget is None:
        return crafter_score(success_rates(episodes))
    if not budget > 0:
        raise InvalidOptionError(f"budget must be a positive number of steps, got {budget!r}")
    within = _ending_within(episodes, budget)
    if not within:
        raise InvalidOptionError(f"no episode ends within the budget of {budget:g} steps")
    return crafter_score(success_rates(within))


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


def _ending_within(episodes: Iterable[Mapping[str, Any]], budget: float) -> list[Mapping[str, Any]]:
    within, steps = [], 0
    for episode in episodes:
        steps += episode["length"]
        if steps > budget:
            break
        within.append(episode)
    return within
