"""What came out: tables, pictures and summaries, of a few runs or of arms side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from llm_wrappers.demo.arms import ARMS
from llm_wrappers.demo.training import RunResult
from llm_wrappers.errors import require
from llm_wrappers.scores import (
    bootstrap_interval,
    crafter_score,
    format_table,
    interquartile_mean,
    read_episodes,
    success_rates,
)
from llm_wrappers.worlds.crafter.rules import ACHIEVEMENTS

__all__ = [
    "DEPTHS",
    "MEASURES",
    "Measured",
    "achievement_depth",
    "compare",
    "summarise",
    "write_comparison",
    "write_report",
]

_LAST_EPISODES = 300
_CURVE_POINTS = 40
_DPI = 120
_ACHIEVEMENT = "achievement_"
_FOOTNOTE = (
    "score: official Crafter estimator over all training episodes, in percent; with several seeds "
    "the interquartile mean\nand a 95 % bootstrap interval over seeds. last: the last "
    f"{_LAST_EPISODES} episodes. Guidance: written by hand, no language model."
)
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

_SIDE_BY_SIDE = """\
Each cell: the interquartile mean over seeds (the plain mean of fewer than four), and in brackets a
95 % bootstrap interval over seeds. Everything is over all training episodes, exploration included:
this is the official estimator of the Crafter score, in percent; "last 300" is the same formula over
the last 300 episodes. Depth: of the deepest achievement of an episode, from 0 to 8, counted our
way. Planner calls: states that the planner's code was asked about; others were remembered. Guidance
was written by hand: no language model was asked."""


# --- how deep an episode got in the tree of achievements ---

_PREREQUISITES = {
    "place_table": ("collect_wood",),
    "make_wood_pickaxe": ("place_table",),
    "make_wood_sword": ("place_table",),
    "collect_stone": ("make_wood_pickaxe",),
    "place_stone": ("collect_stone",),
    "make_stone_pickaxe": ("collect_stone",),
    "make_stone_sword": ("collect_stone",),
    "place_furnace": ("collect_stone",),
    "collect_coal": ("make_wood_pickaxe",),
    "collect_iron": ("make_stone_pickaxe",),
    "make_iron_pickaxe": ("collect_iron", "collect_coal", "place_furnace"),
    "make_iron_sword": ("collect_iron", "collect_coal", "place_furnace"),
    "collect_diamond": ("make_iron_pickaxe",),
    "place_plant": ("collect_sapling",),
    "eat_plant": ("place_plant",),
}


def _depth(name: str) -> int:
    return 1 + max((_depth(before) for before in _PREREQUISITES.get(name, ())), default=0)


DEPTHS: Mapping[str, int] = MappingProxyType({name: _depth(name) for name in ACHIEVEMENTS})
"""Achievement -> the length of the longest chain that the rules make one walk to it, from 1 to 8.

The chains are the same in Crafter and in Craftax-Classic. Our measure: SGRL reports a depth too
(arXiv 2509.22008), and how it counts is not known to us.
"""


def achievement_depth(counts: Mapping[str, int]) -> int:
    """Return the depth of the deepest achievement of one episode, 0 if there is none.

    Args:
        counts: Achievement name to how often it was reached.

    >>> achievement_depth({"collect_wood": 3, "place_table": 1, "collect_diamond": 0})
    2
    """
    return max((DEPTHS[name] for name, count in counts.items() if count > 0), default=0)


# --- a few runs ---


def summarise(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """Return one record per run: scores, returns, success rates, guidance and speed.

    `score` is the official Crafter score over all training episodes; `last_score` the same
    formula over the last 300, which the official protocol does not know. `planner_calls` and
    `open_actions`, the share of actions that masks left open, are None without guidance.
    """
    return [_summary(result) for result in results]


def _summary(result: RunResult) -> dict[str, Any]:
    episodes = _episodes(result)
    last = episodes[-_LAST_EPISODES:]
    return {
        "arm": result.arm,
        "seed": result.seed,
        "steps": result.steps,
        "episodes": len(episodes),
        "score": _score(episodes),
        "last_score": _score(last),
        "return": _mean(episode["reward"] for episode in episodes),
        "last_return": _mean(episode["reward"] for episode in last),
        "length": _mean(episode["length"] for episode in episodes),
        "achievements": _mean(_unlocked(episode) for episode in episodes),
        "last_achievements": _mean(_unlocked(episode) for episode in last),
        "depth": _mean(achievement_depth(_achievements(episode)) for episode in episodes),
        **_guidance(result),
        "steps_per_second": result.steps / max(result.seconds, 1e-9),
        "seconds": result.seconds,
        "llm_calls": 0,  # the planner is code: nothing in these arms can ask a model
        "interrupted": result.interrupted,
        "success_rates": success_rates(episodes) if episodes else {},
        "last_success_rates": success_rates(last) if last else {},
    }


def write_report(results: Sequence[RunResult], folder: Path, *, title: str) -> str:
    """Write `summary.json`, `table.md`, `learning_curve.png` and `goals.png`; return the table.

    Args:
        results: The runs, finished or interrupted.
        folder: Where to write.
        title: What the runs have in common: environment, steps.
    """
    summaries = summarise(results)
    (folder / "summary.json").write_text(json.dumps(summaries, indent=2), encoding="utf-8")
    table = f"{title}\n\n{format_table(_rows(summaries))}\n\n{_FOOTNOTE}"
    (folder / "table.md").write_text(table + "\n", encoding="utf-8")
    _plot_learning_curves(results, folder / "learning_curve.png", title=title)
    _plot_goals(results, folder / "goals.png", title=title)
    return table


def _rows(summaries: Sequence[dict[str, Any]]) -> list[dict[str, object]]:
    arms = list(dict.fromkeys(summary["arm"] for summary in summaries))
    return [_row(arm, [s for s in summaries if s["arm"] == arm]) for arm in arms]


def _row(arm: str, runs: Sequence[dict[str, Any]]) -> dict[str, object]:
    def middle(key: str) -> float:
        return interquartile_mean([run[key] for run in runs])

    scores = [run["score"] for run in runs]
    low, high = bootstrap_interval(scores)
    row: dict[str, object] = {
        "arm": arm,
        "what": ARMS[arm].summary,
        "seeds": len(runs),
        "score": f"{middle('score'):.2f}",
        "95 % interval": "" if np.isnan(low) else f"{low:.2f} to {high:.2f}",
        "last score": f"{middle('last_score'):.2f}",
        "return": f"{middle('return'):.2f}",
        "achievements/episode": f"{middle('achievements'):.2f}",
        "last achievements": f"{middle('last_achievements'):.2f}",
        "steps/s": round(middle("steps_per_second")),
        "LLM calls": sum(run["llm_calls"] for run in runs),
    }
    if any(run["interrupted"] for run in runs):
        row["note"] = f"interrupted at {min(run['steps'] for run in runs):,} steps"
    return row


# --- arms side by side, with their uncertainty over seeds ---


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
        summaries: What `summarise` returned.
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
    rows = format_table([_measured_row(arm, measures) for arm, measures in arms.items()])
    table = f"{title}\n\n{rows}\n\n{_SIDE_BY_SIDE}"
    record = {"title": title, "arms": {arm: _record(arms[arm], seeds[arm]) for arm in arms}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(table + "\n", encoding="utf-8")
    (folder / "comparison.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(summaries, indent=2), encoding="utf-8")
    _plot_learning_curves(results, folder / "learning_curve.png", title=title)
    return table


def _measured(values: Sequence[float | None]) -> Measured | None:
    numbers = [float(value) for value in values if value is not None]
    if not numbers:
        return None
    low, high = bootstrap_interval(numbers)
    ends = (None, None) if math.isnan(low) else (low, high)
    return Measured(tuple(numbers), interquartile_mean(numbers), *ends)


def _measured_row(arm: str, measures: Mapping[str, Measured | None]) -> dict[str, object]:
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


# --- pictures ---


def _plot_learning_curves(results: Sequence[RunResult], path: Path, *, title: str) -> None:
    """Draw achievements per episode over environment steps, a line per run, a colour per arm."""
    figure, axes = _figure()
    arms = list(dict.fromkeys(result.arm for result in results))
    for result in results:
        episodes = _episodes(result)
        if not episodes:
            continue
        ends = np.array([episode["env_steps"] for episode in episodes])
        unlocked = np.array([_unlocked(episode) for episode in episodes])
        edges = np.linspace(0, ends.max(), _CURVE_POINTS + 1)
        bins = np.clip(np.digitize(ends, edges) - 1, 0, _CURVE_POINTS - 1)
        filled = np.unique(bins)
        means = [unlocked[bins == number].mean() for number in filled]
        first = result.seed == min(r.seed for r in results if r.arm == result.arm)
        axes.plot(
            edges[filled + 1],
            means,
            color=f"C{arms.index(result.arm)}",
            alpha=0.9 if first else 0.5,
            label=f"{result.arm}: {ARMS[result.arm].summary}" if first else None,
        )
    axes.set(xlabel="environment steps", ylabel="achievements per episode (of 22)", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    figure.savefig(path, dpi=_DPI)


def _plot_goals(results: Sequence[RunResult], path: Path, *, title: str) -> None:
    """Draw each goal's share of the steps over training, for the first guided run."""
    guided = [result for result in results if (result.folder / "goals.json").exists()]
    if not guided:
        path.unlink(missing_ok=True)  # of an earlier experiment
        return
    run = guided[0]
    history = json.loads((run.folder / "goals.json").read_text(encoding="utf-8"))
    counts = np.array(list(history["goals"].values()), dtype=np.float64)
    active = counts.sum(axis=1) > 0
    shares = counts[active] / np.maximum(counts.sum(axis=0), 1)
    names = [goal for goal, used in zip(history["goals"], active, strict=True) if used]
    figure, axes = _figure()
    colours = require("matplotlib", extra="sb3").colormaps["tab20"](np.linspace(0, 1, len(names)))
    axes.stackplot(history["env_steps"], 100 * shares, labels=names, colors=colours)
    axes.set(
        xlabel="environment steps",
        ylabel="share of steps, %",
        title=f"Goals of {run.arm}, seed {run.seed}\n{title}",
        ylim=(0, 100),
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")
    figure.savefig(path, dpi=_DPI)


def _figure() -> tuple[Any, Any]:
    figure_module = require("matplotlib.figure", extra="sb3")
    figure = figure_module.Figure(figsize=(9, 5), layout="constrained")
    return figure, figure.subplots()


def _episodes(result: RunResult) -> list[dict[str, Any]]:
    path = result.folder / "stats.jsonl"
    return read_episodes(path) if path.exists() else []


def _guidance(result: RunResult) -> dict[str, float | None]:
    path = result.folder / "guidance.json"
    if not path.exists():
        return {"planner_calls": None, "open_actions": None}
    stats = json.loads(path.read_text(encoding="utf-8"))
    return {
        "planner_calls": stats["GoalObservationWrapper"]["planned"],
        "open_actions": stats["ActionMaskWrapper"]["open_share"],
    }


def _achievements(episode: dict[str, Any]) -> dict[str, int]:
    return {
        key.removeprefix(_ACHIEVEMENT): count
        for key, count in episode.items()
        if key.startswith(_ACHIEVEMENT)
    }


def _unlocked(episode: dict[str, Any]) -> int:
    return sum(count > 0 for count in _achievements(episode).values())


def _score(episodes: Sequence[dict[str, Any]]) -> float:
    return crafter_score(success_rates(episodes)) if episodes else 0.0


def _mean(values: Any) -> float:
    numbers = list(values)
    return float(np.mean(numbers)) if numbers else 0.0
