"""What is known of a training run, and the file in which it stands."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm import LLM
from llm_wrappers.llm.usage import Counts, Usage
from llm_wrappers.sb3._run_figures import (
    added,
    counts_from_json,
    per_million,
    subtracted,
    summed,
    usage_as_json,
    usage_from_json,
)

__all__ = ["RunRecord", "read_report"]

_FORMAT = 1


class RunRecord:
    """The figures of one call of ``learn``, on top of those of the calls that it continues.

    It holds no environment and no model, so that it can be written when these are gone.

    Args:
        path: The file.
        about: What does not change: algorithm, versions, seed.
        llms: The clients whose usage counts from now on.
        authoring: An entry for each artefact; see `authoring_entry`.
        earlier: The report that this run continues; empty for a new one.
        model_steps: The steps that the model has done before.
        stats: The counters of the wrappers until now.
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
        stats: Mapping[str, Any] | None,
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
        total = usage_from_json(earlier or {})
        for llm, before in zip(self._llms, self._usage_before, strict=True):
            total = added(total, llm.usage - before)
        return total

    @property
    def steps(self) -> int:
        """The environment steps that the report covers, earlier runs included."""
        done: int = self._earlier.get("env_steps", {}).get("reported", 0)
        return done + self.model_steps - self._first_step

    def note_guidance(self, stats: Mapping[str, Any], latest: Mapping[str, Any]) -> None:
        """Keep the counters of the wrappers as they are now.

        Args:
            stats: The counters, summed over the sub-environments.
            latest: The numbers that are no counters.
        """
        here = subtracted(stats, self._stats_before or {})
        earlier = (self._earlier.get("guidance") or {}).get("counters", {})
        self._guidance = {
            "as_of_env_steps": self.steps,
            "counters": summed([earlier, here]),
            "latest": dict(latest),
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
                "training": None if used is None else usage_as_json(used),
                "authoring": self._authoring,
                "per_1m_env_steps": {
                    "training": per_million(None if used is None else used.total, self.steps),
                    "with_authoring": per_million(self._altogether(used), self.steps),
                },
            },
        }

    def _altogether(self, used: Usage | None) -> Counts | None:
        totals = [entry["usage"] for entry in self._authoring]
        if (used is None and not totals) or None in totals:
            return None
        start = Counts() if used is None else used.total
        return sum((counts_from_json(total["total"]) for total in totals), start)


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
