"""What came out: a table, two pictures and a summary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llm_wrappers.demo.arms import ARMS
from llm_wrappers.demo.depth import achievement_depth
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

__all__ = ["plot_goals", "plot_learning_curves", "summarise", "write_report"]

_LAST_EPISODES = 300
_CURVE_POINTS = 40
_ACHIEVEMENT = "achievement_"


def summarise(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """Return one record per run: scores, returns, success rates, guidance and speed.

    `score` is the official Crafter score over all training episodes; `last_score` the same
    formula over the last 300, which the official protocol does not know. `planner_calls` and
    `open_actions`, the share of actions that masks left open, are None without guidance.
    """
    return [_summary(result) for result in results]


def _summary(result: RunResult) -> dict[str, Any]:
    path = result.folder / "stats.jsonl"
    episodes = read_episodes(path) if path.exists() else []
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
    plot_learning_curves(results, folder / "learning_curve.png", title=title)
    plot_goals(results, folder / "goals.png", title=title)
    return table


_FOOTNOTE = (
    "score: official Crafter estimator over all training episodes, in percent; with several seeds "
    "the interquartile mean\nand a 95 % bootstrap interval over seeds. last: the last "
    f"{_LAST_EPISODES} episodes. Guidance: written by hand, no language model."
)


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


def plot_learning_curves(results: Sequence[RunResult], path: Path, *, title: str) -> None:
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
    _save(figure, path)


def plot_goals(results: Sequence[RunResult], path: Path, *, title: str) -> None:
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
    _save(figure, path)


def _figure() -> tuple[Any, Any]:
    figure_module = require("matplotlib.figure", extra="sb3")
    figure = figure_module.Figure(figsize=(9, 5), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=120)


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
