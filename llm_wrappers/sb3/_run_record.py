"""What is known of a training run, the figures that follow from it, and the file they stand in."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.artefact import GuidanceArtefact
from llm_wrappers.llm import LLM
from llm_wrappers.llm.usage import Counts, Usage
from llm_wrappers.sandbox.source import hash_of

__all__ = ["RunRecord", "authoring_entry", "counters", "read_report"]

_FORMAT = 1
_MILLION = 1_000_000
_HAND = "hand"


class RunRecord:
    """The figures of one call of ``learn``, on top of those of the calls that it continues.

    It holds no environment and no model, so that it can be written when these are gone. It goes on
    from the report `earlier`, and from `stats`, what the wrappers have counted until now.
    """

    def __init__(
        self,
        path: Path,
        *,
        about: Mapping[str, Any],
        llms: Sequence[LLM],
        authoring: Sequence[Mapping[str, Any]],
        earlier: Mapping[str, Any],
        model_steps: int,
        stats: Mapping[str, Any],
    ) -> None:
        self._path = path
        self._about = dict(about)
        self._llms = tuple({id(llm): llm for llm in llms}.values())
        self._usage_before = tuple(llm.usage for llm in self._llms)
        self._earlier = earlier
        self._first_step = self.model_steps = model_steps
        known = list(earlier.get("llm", {}).get("authoring", []))
        self._authoring = known + [entry for entry in authoring if entry not in known]
        self._stats_before = stats
        self._guidance: dict[str, Any] | None = None
        self._started = time.perf_counter()
        self._process = os.getpid()
        self._at_the_end: dict[str, Any] | None = None
        self.status = "running"
        self.error: str | None = None

    @property
    def usage(self) -> Usage | None:
        """What the clients used while training, earlier runs included; None without clients."""
        earlier = self._earlier.get("llm", {}).get("training")
        if not self._llms and earlier is None:
            return None
        total = _usage_from_json(earlier or {})
        for llm, before in zip(self._llms, self._usage_before, strict=True):
            total = total - (Usage() - (llm.usage - before))  # a usage can only be subtracted
        return total

    @property
    def steps(self) -> int:
        """The environment steps that the report covers, earlier runs included."""
        done: int = self._earlier.get("env_steps", {}).get("reported", 0)
        return done + self.model_steps - self._first_step

    def note_guidance(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep the statistics of the wrappers as they are now, a row for each stack."""
        here = _subtracted(counters(rows), self._stats_before)
        earlier = (self._earlier.get("guidance") or {}).get("counters", {})
        self._guidance = {
            "as_of_env_steps": self.steps,
            "counters": counters([earlier, here]),
            "latest": _settings(rows),
        }

    def figures(self) -> dict[str, Any]:
        """Return the report as plain JSON data; once it has ended, as it was then."""
        return self._at_the_end or self._figures_now()

    def write(self) -> None:
        """Put the report in its file, whole or not at all."""
        text = json.dumps(self.figures(), indent=2) + "\n"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, self._path)

    def end(self, status: str, error: str | None = None) -> None:
        """Write the report for the last time; harmless if it has ended, or in a forked process."""
        if self.status == "running" and os.getpid() == self._process:
            self.status, self.error = status, error
            self._at_the_end = self._figures_now()
            self.write()

    def _figures_now(self) -> dict[str, Any]:
        seconds = time.perf_counter() - self._started
        run_steps = self.model_steps - self._first_step
        used = self.usage
        return {
            "format": _FORMAT,
            "status": self.status,
            "error": self.error,
            "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **self._about,
            "env_steps": {"run": run_steps, "reported": self.steps, "model": self.model_steps},
            "seconds": {
                "run": seconds,
                "reported": seconds + self._earlier.get("seconds", {}).get("reported", 0.0),
            },
            "steps_per_second": run_steps / seconds if seconds else None,
            "guidance": self._guidance or self._earlier.get("guidance"),
            "llm": {
                "training": None if used is None else _usage_as_json(used),
                "authoring": self._authoring,
                "per_1m_env_steps": {
                    "training": _per_million(None if used is None else used.total, self.steps),
                    "with_authoring": _per_million(self._altogether(used), self.steps),
                },
            },
        }

    def _altogether(self, used: Usage | None) -> Counts | None:
        totals = [entry["usage"] for entry in self._authoring]
        if (used is None and not totals) or None in totals:
            return None
        start = Counts() if used is None else used.total
        return sum((_counts_from_json(total["total"]) for total in totals), start)


def read_report(path: Path) -> dict[str, Any]:
    """Return the report in a file, empty if there is no file.

    Raises:
        InvalidOptionError: If the file is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] == _FORMAT and {"env_steps", "seconds", "llm"} <= found.keys():
            return dict(found)
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, LookupError, OSError):
        pass
    raise InvalidOptionError(
        f"expected no file or a run report of format {_FORMAT} at {path}, got something else; move "
        "it away, or give another path"
    )


# --- counters of the wrappers ---


def counters(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums of the whole numbers in nested statistics, which count something.

    >>> counters([{"Mask": {"states": 4, "xi": 0.5, "goals": {"eat": 3}}}, {"Mask": {"states": 2}}])
    {'Mask': {'states': 6, 'goals': {'eat': 3}}}
    """
    return _combined([_only(row, int) for row in rows], sum)


def _settings(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the other numbers, which are as they are now, as their means over the rows."""
    return _combined([_only(row, float) for row in rows], lambda values: sum(values) / len(values))


def _subtracted(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return what nested counters counted since an earlier moment."""
    return {
        name: _subtracted(value, before.get(name, {}))
        if isinstance(value, Mapping)
        else value - before.get(name, 0)
        for name, value in now.items()
    }


def _only(stats: Mapping[str, Any], kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in stats.items():
        if isinstance(value, Mapping):
            inner = _only(value, kind)
            found |= {name: inner} if inner else {}
        elif type(value) is kind:
            found[name] = value
    return found


def _combined(rows: Sequence[Mapping[str, Any]], combine: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row[name] for row in rows if name in row]
        is_nested = isinstance(values[0], Mapping)
        found[name] = _combined(values, combine) if is_nested else combine(values)
    return found


# --- what language models used ---


def authoring_entry(artefact: GuidanceArtefact) -> dict[str, Any]:
    """Return what writing an artefact took: nothing if by hand, None if nobody wrote it down."""
    where = artefact.provenance
    used = None
    if where.author == _HAND or where.usage:
        used = _usage_as_json(_recorded_usage(where.usage))
    source = artefact.planner_source
    return {
        "author": where.author,
        "environment": where.environment,
        "planner_sha256": None if source is None else hash_of(source),
        "usage": used,
    }


def _recorded_usage(recorded: Mapping[str, Any]) -> Usage:
    try:
        return _usage_from_json(recorded)
    except (AttributeError, TypeError) as error:
        raise InvalidOptionError(
            "expected the usage in an artefact's provenance as `Usage.as_dict` gives it, got "
            f"{dict(recorded)!r}; save the artefact with what was recorded, or with usage={{}}"
        ) from error


def _usage_as_json(usage: Usage) -> dict[str, Any]:
    return {
        "total": _counts_as_json(usage.total),
        "purposes": {purpose: _counts_as_json(counts) for purpose, counts in usage.rows},
    }


def _usage_from_json(data: Mapping[str, Any]) -> Usage:
    """Return the usage that `_usage_as_json` or `Usage.as_dict` wrote down."""
    rows = data.get("purposes", {}).items()
    return Usage(tuple((purpose, _counts_from_json(counts)) for purpose, counts in rows))


def _counts_as_json(counts: Counts) -> dict[str, Any]:
    return {**counts.as_dict(), "tokens": counts.tokens, "dollars": _dollars(counts)}


def _counts_from_json(data: Mapping[str, Any]) -> Counts:
    return Counts(**{field.name: data.get(field.name) or 0 for field in fields(Counts)})


def _dollars(counts: Counts) -> float | None:
    # None is what nobody knows; 0 would be a claim.
    return None if counts.unpriced_calls else counts.dollars


def _per_million(counts: Counts | None, env_steps: int) -> dict[str, float | None] | None:
    """Return what was used per 1,000,000 environment steps; None if that is not known."""
    if counts is None or env_steps == 0:
        return None
    dollars = _dollars(counts)
    return {
        "calls": counts.calls * _MILLION / env_steps,
        "tokens": counts.tokens * _MILLION / env_steps,
        "dollars": None if dollars is None else dollars * _MILLION / env_steps,
    }
