"""SGRL on MiniGrid DoorKey against PPO, at equal steps: `python benchmarks/sgrl_minigrid.py`.

Each arm of `examples/sgrl_minigrid.py` is trained with each seed in a process of its own, one after
the other and on one thread; runs that are complete on disk are not trained again. Beside them
stand policies that learn nothing and choose uniformly among the open actions: with guidance, they
tell how far planner and masks alone get.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)
import numpy as np

from llm_wrappers.methods import sgrl
from llm_wrappers.scores import format_table, read_episodes

Results: TypeAlias = "dict[str, list[dict[str, float | None]]]"

EXAMPLE = Path(__file__).parents[1] / "examples" / "sgrl_minigrid.py"
RECENT, SOLVED = 100, 0.9
UNTIL_SOLVED = "trained steps until 90 %"
MEASURES = (
    "success, all", "return, all", "success, last 100", "return, last 100",
    "steps per episode, last 100", UNTIL_SOLVED,
)  # fmt: skip


def play_at_random(env_id: str, *, guided: bool, episodes: int, seed: int) -> list[dict[str, Any]]:
    """Return the episodes of a policy that chooses uniformly among the open actions."""
    env: Any = gym.make(env_id, disable_env_checker=True)
    env = sgrl.wrap(env, **({} if guided else {"planner": "none"}))
    generator = np.random.default_rng(seed)
    played = []
    for number in range(episodes):
        env.reset(seed=seed * episodes + number)
        length, reward, done = 0, 0.0, False
        while not done:
            action = generator.choice(np.flatnonzero(env.action_masks()))
            _, reward, terminated, truncated, _ = env.step(action)
            length, done = length + 1, terminated or truncated
        played.append({"length": length, "reward": reward, "env_steps": 0})
    return played


def train(options: argparse.Namespace, arm: str, seed: int) -> list[dict[str, Any]]:
    """Return the training episodes of one run, which is made unless it is on disk."""
    folder = options.out / options.env / arm / f"seed-{seed}"
    asked = {"env": options.env, "steps": options.steps, "num_envs": options.num_envs}
    path = folder / "result.json"
    if not path.exists() or json.loads(path.read_text(encoding="utf-8"))["asked"] != asked:
        path.unlink(missing_ok=True)
        command = [
            sys.executable, str(EXAMPLE), "--arms", arm, "--seed", str(seed), "--env", options.env,
            "--steps", str(options.steps), "--num-envs", str(options.num_envs),
            "--out", str(options.out / options.env),
        ]  # fmt: skip
        started = time.perf_counter()
        quietly = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        subprocess.run(command, check=True, env=quietly, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        path.write_text(json.dumps({"asked": asked, "seconds": seconds}), encoding="utf-8")
        print(f"{arm}, seed {seed}: {seconds:.0f} s", flush=True)
    return read_episodes(folder / "stats.jsonl")


def measures(episodes: Sequence[dict[str, Any]], limit: int) -> dict[str, float | None]:
    """Return what one run reached; None for what cannot be told.

    Args:
        episodes: In the order in which they ended.
        limit: The steps after which an episode is given up.
    """
    if not episodes:
        return dict.fromkeys(MEASURES)
    won = np.array([episode["reward"] > 0 for episode in episodes])
    lengths = np.array([episode["length"] for episode in episodes])
    # The log keeps one decimal of the reward, as Crafter's does; the length tells it exactly.
    returns = won * (1 - 0.9 * lengths / limit)
    recent = [float(values[-RECENT:].mean()) for values in (won, returns, lengths)]
    solved = steps_until_solved(episodes, won)
    values = [float(won.mean()), float(returns.mean()), *recent, solved]
    return dict(zip(MEASURES, values, strict=True))


def steps_until_solved(episodes: Sequence[dict[str, Any]], won: np.ndarray) -> float | None:
    """Return the training steps after which 90 of the last 100 episodes had succeeded."""
    wins = np.convolve(won, np.ones(RECENT), mode="valid") if len(won) >= RECENT else np.zeros(0)
    solved = np.flatnonzero(wins >= SOLVED * RECENT)
    return float(episodes[solved[0] + RECENT - 1]["env_steps"]) if solved.size else None


def success_by_quarter(episodes: Sequence[dict[str, Any]], steps: int) -> dict[str, float | None]:
    """Return the success of the episodes that ended in each quarter of the training."""
    quarters: dict[str, float | None] = {}
    for first in range(4):
        ended = [e for e in episodes if first < 4 * e["env_steps"] / steps <= first + 1]
        name = f"{steps * first // 4:,} to {steps * (first + 1) // 4:,}"
        quarters[name] = sum(e["reward"] > 0 for e in ended) / len(ended) if ended else None
    return quarters


def row(name: str, runs: Sequence[dict[str, float | None]]) -> dict[str, object]:
    """Return a line of the table: the mean over seeds, of those alone that reached a thing."""
    cells: dict[str, object] = {"policy": name}
    for measure in runs[0]:
        found = [run[measure] for run in runs if run[measure] is not None]
        mean = float(np.mean(found)) if found else None
        share = f" ({len(found)} of {len(runs)} seeds)" if 0 < len(found) < len(runs) else ""
        cells[measure] = f"{mean:,.0f}{share}" if share else mean
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="MiniGrid-DoorKey-8x8-v0")
    parser.add_argument("--arms", nargs="*", default=["ppo", "goals", "masks", "sgrl"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--episodes", type=int, default=100, help="of the random policies, a seed")
    parser.add_argument("--out", type=Path, default=Path("runs/minigrid"))
    options = parser.parse_args()
    limit = gym.make(options.env).unwrapped.max_steps
    results: Results = {}
    quarters: Results = {}
    for name, guided in (("random", False), ("random, guided", True)):
        played = [
            play_at_random(options.env, guided=guided, episodes=options.episodes, seed=seed)
            for seed in options.seeds
        ]
        results[name] = [{**measures(run, limit), UNTIL_SOLVED: None} for run in played]
    for arm in options.arms:
        runs = [train(options, arm, seed) for seed in options.seeds]
        results[arm] = [measures(run, limit) for run in runs]
        quarters[arm] = [success_by_quarter(run, options.steps) for run in runs]
    report(options, results, quarters)


def report(options: argparse.Namespace, results: Results, quarters: Results) -> None:
    """Write and print the tables."""
    tables = [format_table([row(*item) for item in part.items()]) for part in (results, quarters)]
    text = (
        f"{options.env}, {options.steps:,} steps, {len(options.seeds)} seeds, {options.num_envs} "
        f"environments\n\n{tables[0]}\n\nSuccess of the episodes that ended within these steps:\n\n"
        f"{tables[1]}\n"
    )
    folder = options.out / options.env
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(text, encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps([results, quarters], indent=2), "utf-8")
    print(f"\n{text}")


if __name__ == "__main__":
    main()
