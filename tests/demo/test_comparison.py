"""Arms side by side, with their uncertainty over seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llm_wrappers.demo import ARMS
from llm_wrappers.demo.comparison import MEASURES, compare, write_comparison
from llm_wrappers.demo.training import RunResult
from llm_wrappers.scores import bootstrap_interval, interquartile_mean

GUIDANCE = {"GoalObservationWrapper": {"planned": 40}, "ActionMaskWrapper": {"open_share": 0.25}}


def make_run(folder: Path, arm: str, seed: int, woods: list[int], guidance: Any = None) -> Any:
    """Return a run of episodes that are known: one return of 1 for each piece of wood."""
    here = folder / arm / f"seed-{seed}"
    here.mkdir(parents=True)
    episodes = [
        {"length": 10, "reward": wood, "achievement_collect_wood": wood, "env_steps": 10 * (i + 1)}
        for i, wood in enumerate(woods)
    ]
    (here / "stats.jsonl").write_text("".join(json.dumps(e) + "\n" for e in episodes))
    if guidance:
        (here / "guidance.json").write_text(json.dumps(guidance))
    return RunResult(arm, seed, here, 1000, 4.0, interrupted=False)


@pytest.fixture
def runs(tmp_path: Path) -> list[RunResult]:
    plain = [make_run(tmp_path, "ppo", seed, [0, 0, 0, seed]) for seed in range(5)]
    return [*plain, make_run(tmp_path, "sgrl", 0, [2, 2], GUIDANCE)]


def rows_of(table: str) -> dict[str, dict[str, str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


def test_the_interval_is_over_seeds(runs: Any, tmp_path: Path) -> None:
    rows = rows_of(write_comparison(runs, tmp_path, title="a title"))
    returns = [seed / 4 for seed in range(5)]
    low, high = bootstrap_interval(returns)
    middle = interquartile_mean(returns)
    assert rows["ppo"]["return"] == f"{middle:.2f} ({low:.2f} to {high:.2f})"
    assert rows["ppo"]["seeds"] == "5"
    assert rows["sgrl"]["return"] == "2.00"  # one seed has no spread
    assert [rows[arm]["what"] for arm in rows] == [ARMS[arm].summary for arm in rows]


def test_what_the_numbers_are(runs: Any, tmp_path: Path) -> None:
    rows = rows_of(write_comparison(runs, tmp_path, title="a title"))
    guided = rows["sgrl"]
    assert (guided["depth"], guided["achievements/episode"]) == ("1.00", "1.00")
    assert guided["Crafter score"] == guided["score, last 300"] == "100.00"
    assert (guided["open actions"], guided["planner calls"]) == ("25%", "40")
    assert guided["steps/s"] == "250"
    assert (rows["ppo"]["open actions"], rows["ppo"]["planner calls"]) == ("", "")


def test_the_files_say_the_same(runs: Any, tmp_path: Path) -> None:
    table = write_comparison(runs, tmp_path, title="a title")
    assert (tmp_path / "table.md").read_text() == table + "\n"
    assert table.startswith("a title\n")
    record = json.loads((tmp_path / "comparison.json").read_text())
    assert record["title"] == "a title"
    assert list(record["arms"]) == ["ppo", "sgrl"]
    plain, guided = record["arms"]["ppo"], record["arms"]["sgrl"]
    assert plain["seeds"] == list(range(5))
    assert plain["return"]["values"] == [seed / 4 for seed in range(5)]
    assert plain["return"]["interval_95"] == list(bootstrap_interval(plain["return"]["values"]))
    assert guided["return"] == {"interquartile_mean": 2.0, "interval_95": None, "values": [2.0]}
    assert plain["open_actions"] is None
    assert set(MEASURES) < set(plain)
    assert len(json.loads((tmp_path / "summary.json").read_text())) == 6
    assert (tmp_path / "learning_curve.png").exists()


def test_a_measure_that_only_some_seeds_have_is_of_those() -> None:
    runs = [dict.fromkeys(MEASURES, 1.0) | {"arm": "sgrl"} for _ in range(3)]
    runs[1]["planner_calls"] = None
    measured = compare(runs)["sgrl"]["planner_calls"]
    assert measured is not None
    assert measured.values == (1.0, 1.0)
