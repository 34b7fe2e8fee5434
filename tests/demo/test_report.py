"""Numbers, tables and files that follow from the episodes of runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import crafter
import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from llm_wrappers.demo import ARMS
from llm_wrappers.demo.report import (
    DEPTHS,
    MEASURES,
    achievement_depth,
    compare,
    summarise,
    write_comparison,
    write_report,
)
from llm_wrappers.demo.training import RunResult
from llm_wrappers.scores import bootstrap_interval, interquartile_mean
from llm_wrappers.worlds.crafter.captioner import ACHIEVEMENTS

GUIDANCE = {"GoalObservationWrapper": {"planned": 40}, "ActionMaskWrapper": {"open_share": 0.25}}
RULES = YAML(typ="safe").load(Path(crafter.__file__).parent / "data.yaml")


def make_run(
    folder: Path, arm: str, seed: int, episodes: list[dict[str, Any]], guidance: Any = None
) -> RunResult:
    here = folder / arm / f"seed-{seed}"
    here.mkdir(parents=True)
    (here / "stats.jsonl").write_text("".join(json.dumps(e) + "\n" for e in episodes))
    if guidance:
        (here / "guidance.json").write_text(json.dumps(guidance))
    return RunResult(arm, seed, here, 1000, 4.0, interrupted=False)


def of_wood(*woods: int) -> list[dict[str, Any]]:
    """Return episodes that are known: one return of 1 for each piece of wood."""
    return [
        {"length": 10, "reward": wood, "achievement_collect_wood": wood, "env_steps": 10 * (i + 1)}
        for i, wood in enumerate(woods)
    ]


def at_random(count: int, seed: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(seed)
    return [
        {
            "length": int(generator.integers(1, 300)),
            "reward": round(float(generator.normal()), 1),
            **{f"achievement_{name}": int(generator.poisson(0.4)) for name in ACHIEVEMENTS},
            "env_steps": 100 * (index + 1),
        }
        for index in range(count)
    ]


def score_by_hand(episodes: list[dict[str, Any]]) -> float:
    logs = []
    for name in ACHIEVEMENTS:
        successes = [episode for episode in episodes if episode[f"achievement_{name}"] >= 1]
        logs.append(math.log(1 + 100 * len(successes) / len(episodes)))
    return math.exp(sum(logs) / 22) - 1


def rows_of(table: str) -> dict[str, dict[str, str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


# --- a few runs ---


def test_the_last_episodes_are_summarised_apart(tmp_path: Path) -> None:
    episodes = at_random(310, 1)
    (summary,) = summarise([make_run(tmp_path, "ppo", 0, episodes)])
    last = episodes[10:]
    assert summary["score"] == pytest.approx(score_by_hand(episodes))
    assert summary["last_score"] == pytest.approx(score_by_hand(last))
    assert summary["last_return"] == pytest.approx(np.mean([e["reward"] for e in last]))
    unlocked = [sum(e[f"achievement_{name}"] >= 1 for name in ACHIEVEMENTS) for e in last]
    assert summary["last_achievements"] == pytest.approx(np.mean(unlocked))
    share = 100 * np.mean([e["achievement_eat_cow"] >= 1 for e in last])
    assert summary["last_success_rates"]["eat_cow"] == pytest.approx(share)
    assert summary["steps_per_second"] == 250.0


def test_seeds_are_summarised_with_an_interval(tmp_path: Path) -> None:
    results = [make_run(tmp_path, "ppo", seed, at_random(20, seed)) for seed in range(5)]
    (tmp_path / "goals.png").write_bytes(b"of an earlier experiment")
    (row,) = rows_of(write_report(results, tmp_path, title="five seeds")).values()
    scores = [score_by_hand(at_random(20, seed)) for seed in range(5)]
    low, high = bootstrap_interval(scores)
    assert (row["seeds"], row["score"]) == ("5", f"{interquartile_mean(scores):.2f}")
    assert row["95 % interval"] == f"{low:.2f} to {high:.2f}"
    assert not (tmp_path / "goals.png").exists()


def test_a_run_without_a_finished_episode(tmp_path: Path) -> None:
    result = make_run(tmp_path, "ppo", 0, [])
    (result.folder / "stats.jsonl").unlink()
    (summary,) = summarise([result])
    assert (summary["episodes"], summary["score"], summary["return"]) == (0, 0.0, 0.0)
    write_report([result], tmp_path, title="nothing ended")
    with Image.open(tmp_path / "learning_curve.png") as picture:
        assert picture.format == "PNG"


# --- arms side by side ---


def test_arms_side_by_side(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, "ppo", seed, of_wood(0, 0, 0, seed)) for seed in range(5)]
    runs.append(make_run(tmp_path, "sgrl", 0, of_wood(2, 2), GUIDANCE))
    table = write_comparison(runs, tmp_path, title="a title")
    rows = rows_of(table)
    returns = [seed / 4 for seed in range(5)]
    low, high = bootstrap_interval(returns)
    plain, guided = rows["ppo"], rows["sgrl"]
    assert plain["return"] == f"{interquartile_mean(returns):.2f} ({low:.2f} to {high:.2f})"
    assert guided["return"] == "2.00"  # one seed has no spread
    assert (plain["seeds"], plain["open actions"], plain["planner calls"]) == ("5", "", "")
    assert [rows[arm]["what"] for arm in rows] == [ARMS[arm].summary for arm in rows]
    assert (guided["depth"], guided["achievements/episode"]) == ("1.00", "1.00")
    assert guided["Crafter score"] == guided["score, last 300"] == "100.00"
    assert (guided["open actions"], guided["planner calls"]) == ("25%", "40")
    assert guided["steps/s"] == "250"

    # The files say the same.
    assert (tmp_path / "table.md").read_text() == table + "\n"
    assert table.startswith("a title\n")
    record = json.loads((tmp_path / "comparison.json").read_text())
    assert (record["title"], list(record["arms"])) == ("a title", ["ppo", "sgrl"])
    written = record["arms"]["ppo"]
    assert written["seeds"] == list(range(5))
    assert written["return"]["values"] == returns
    assert written["return"]["interval_95"] == [low, high]
    assert written["open_actions"] is None
    assert set(MEASURES) < set(written)
    assert record["arms"]["sgrl"]["return"] == {
        "interquartile_mean": 2.0, "interval_95": None, "values": [2.0],
    }  # fmt: skip
    assert len(json.loads((tmp_path / "summary.json").read_text())) == 6
    assert (tmp_path / "learning_curve.png").exists()


def test_a_measure_that_only_some_seeds_have_is_of_those() -> None:
    runs = [dict.fromkeys(MEASURES, 1.0) | {"arm": "sgrl"} for _ in range(3)]
    runs[1]["planner_calls"] = None
    measured = compare(runs)["sgrl"]["planner_calls"]
    assert measured is not None
    assert measured.values == (1.0, 1.0)


# --- how deep an episode got ---


def depth_by_the_rules(name: str) -> int:
    """Return the depth of an achievement from Crafter's own rule file."""
    verb, thing = name.split("_", 1)
    if verb == "collect":
        (rule,) = [r for r in RULES["collect"].values() if thing in r["receive"]]
        return 1 + max((depth_by_the_rules(f"make_{tool}") for tool in rule["require"]), default=0)
    if verb in ("make", "place"):
        rule = RULES[verb][thing]
        needed = [f"collect_{item}" for item in rule["uses"]]
        needed += [f"place_{block}" for block in rule.get("nearby", [])]
        return 1 + max(map(depth_by_the_rules, needed))
    # Only what was placed can be eaten; cows, zombies and sleep are there from the start.
    return 1 + depth_by_the_rules("place_plant") if name == "eat_plant" else 1


def test_the_depths_follow_from_the_rules_of_the_game() -> None:
    assert set(DEPTHS) == set(RULES["achievements"])
    assert dict(DEPTHS) == {name: depth_by_the_rules(name) for name in DEPTHS}
    assert DEPTHS["collect_diamond"] == max(DEPTHS.values()) == 8
    assert achievement_depth({}) == achievement_depth({"collect_wood": 0}) == 0
    assert achievement_depth({"collect_wood": 1, "collect_diamond": 1}) == 8
