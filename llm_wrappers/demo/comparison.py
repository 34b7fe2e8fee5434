"""Arms side by side: every measure with its uncertainty over seeds, as a table and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llm_wrappers.demo.arms import ARMS
from llm_wrappers.demo.report import plot_learning_curves, summarise
from llm_wrappers.demo.training import RunResult
from llm_wrappers.scores import bootstrap_interval, format_table, interquartile_mean

__all__ = ["MEASURES", "Measured", "compare", "write_comparison"]

MEASURES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "return": ("return", ".2f"),
        "achievements": ("achievements/episode", ".2f"),
        "score": ("Crafter score", ".2f"),
        "last_score": ("score, last 300", ".2f"),
        "depth": ("depth", ".2f"),
        "open_actions": ("open actions", ".0%"),
        "planner_calls": ("planner calls", ",.0f"),
        "steps_per_second": ("steps/s", ",.0f"),
    }
)
"""Key in a run's summary -> the title of its column, and how its numbers are written."""

_FOOTNOTE = """\
Each cell: the interquartile mean over seeds (the plain mean of fewer than four), and in brackets a
95 % bootstrap interval over seeds. Everything is over all training episodes, exploration included:
this is the official estimator of the Crafter score, in percent; "last 300" is the same formula over
the last 300 episodes. Depth: of the deepest achievement of an episode, from 0 to 8, counted our
way. Planner calls: states that the planner's code was asked about; others were remembered. Guidance
was written by hand: no language model was asked."""


@dataclass(frozen=True)
class Measured:
    """One measure of one arm.

    Args:
        values: One number per seed.
        middle: Their interquartile mean.
        low: The lower end of its 95 % bootstrap interval over seeds; None for fewer than two.
        high: The upper end.
    """

    values: tuple[float, ...]
    middle: float
    low: float | None
    high: float | None

    def written(self, form: str) -> str:
        """Return the mean and the interval, each number in the given format.

        >>> Measured((1.0, 2.0), 1.5, 1.0, 2.0).written(".1f")
        '1.5 (1.0 to 2.0)'
        """
        if self.low is None or self.high is None:
            return f"{self.middle:{form}}"
        return f"{self.middle:{form}} ({self.low:{form}} to {self.high:{form}})"


def compare(summaries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Measured | None]]:
    """Return every measure of every arm, None for what an arm does not have.

    Args:
        summaries: What `llm_wrappers.demo.report.summarise` returned.
    """
    arms = dict.fromkeys(summary["arm"] for summary in summaries)
    return {
        arm: {key: _measured([s[key] for s in summaries if s["arm"] == arm]) for key in MEASURES}
        for arm in arms
    }


def write_comparison(results: Sequence[RunResult], folder: Path, *, title: str) -> str:
    """Write `table.md`, `comparison.json`, `summary.json`, `learning_curve.png`; return the table.

    Args:
        results: The runs, finished ones only.
        folder: Where to write.
        title: What the runs have in common: environment, steps, seeds.
    """
    summaries = summarise(results)
    arms = compare(summaries)
    seeds = {arm: [run.seed for run in results if run.arm == arm] for arm in arms}
    table = f"{title}\n\n{format_table([_row(arm, arms[arm]) for arm in arms])}\n\n{_FOOTNOTE}"
    record = {"title": title, "arms": {arm: _record(arms[arm], seeds[arm]) for arm in arms}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(table + "\n", encoding="utf-8")
    (folder / "comparison.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(summaries, indent=2), encoding="utf-8")
    plot_learning_curves(results, folder / "learning_curve.png", title=title)
    return table


def _measured(values: Sequence[float | None]) -> Measured | None:
    numbers = [float(value) for value in values if value is not None]
    if not numbers:
        return None
    low, high = bootstrap_interval(numbers)
    ends = (None, None) if math.isnan(low) else (low, high)
    return Measured(tuple(numbers), interquartile_mean(numbers), *ends)


def _row(arm: str, measures: Mapping[str, Measured | None]) -> dict[str, object]:
    returns = measures["return"]
    cells: dict[str, object] = {
        "arm": arm,
        "what": ARMS[arm].summary,
        "seeds": len(returns.values) if returns else 0,
    }
    for key, (column, form) in MEASURES.items():
        measured = measures[key]
        cells[column] = measured.written(form) if measured else None
    return cells


def _record(measures: Mapping[str, Measured | None], seeds: Sequence[int]) -> dict[str, Any]:
    return {
        "seeds": list(seeds),
        **{
            key: measured
            and {
                "interquartile_mean": measured.middle,
                "interval_95": None if measured.low is None else [measured.low, measured.high],
                "values": list(measured.values),
            }
            for key, measured in measures.items()
        },
    }
