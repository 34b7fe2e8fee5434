"""What each wrapper adds to a step, single and vector, as ratios within one run: `make bench`.

With `--against FOLDER` the same is measured with the package in another working tree, in turns with
this one, and each wrapper's cost is compared: before and after a change.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import llm_wrappers as lw
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.scores import format_table
from llm_wrappers.wrappers import vector

N = 16
GOALS = ["go left", "go right"]
HERE = Path(__file__).resolve()
Env = Any


def planner(facts):
    return [[("go left" if row["pole_angle_deg"] < 0 else "go right", 1.0)] for row in facts]


def brake(facts):
    return [[("brake", 1.0)] for _ in facts]


def table() -> CriticalStates:
    return CriticalStates([CriticalState([0.0, 0.1, 0.15, 0.6], 1, reward=0.8)], key="nearest:0.3")


def wrapped(kit: Any, name: str, env: Env) -> Env:
    """Put one wrapper, and what it needs below it, around an environment."""
    if name == "bounds":
        env = kit.GoalObservationWrapper(env, planner=brake, goals=["brake"])
        return kit.ActionBoundsWrapper(env, bounds={"brake": (-1.0, 1.0)})
    if name in ("goal", "mask"):
        env = kit.GoalObservationWrapper(env, planner=planner, goals=GOALS)
        masks = {"go left": [0], "go right": [1]}
        return env if name == "goal" else kit.ActionMaskWrapper(env, masks=masks)
    make: dict[str, Callable[[Env], Env]] = {
        "bare": lambda env: env,
        "caption": lambda env: kit.CaptionObservationWrapper(env, encoder="hashing:32"),
        "similarity": lambda env: kit.SimilarityRewardWrapper(env, suggester=["push left"]),
        "shift": lambda env: kit.RewardShiftWrapper(env, judge="reference"),
        "override": lambda env: kit.CriticalStateOverrideWrapper(env, critical_states=table()),
        "recorder": lambda env: kit.TrajectoryRecorder(env),
    }
    return make[name](env)


NAMES = ("goal", "mask", "bounds", "caption", "similarity", "shift", "override", "recorder")


def single(name: str, env_id: str) -> Callable[[int], None]:
    env = wrapped(lw.wrappers, name, gym.make(env_id))
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(256)]

    def run(steps: int) -> None:
        for step in range(steps):
            *_, terminated, truncated, _ = env.step(actions[step % 256])
            if terminated or truncated:
                env.reset()

    return run


def many(name: str, env_id: str) -> Callable[[int], None]:
    envs = gym.make_vec(env_id, num_envs=N, vectorization_mode="sync")
    envs = wrapped(vector, name, envs)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    actions = [np.array(envs.action_space.sample()) for _ in range(64)]

    def run(steps: int) -> None:
        for step in range(steps):
            envs.step(actions[step % 64])

    return run


def measure(rounds: int) -> dict[str, float]:
    """Return the least processor time per step of each arm, in microseconds; arms take turns."""
    arms = {
        f"{kind} {name} {env_id}": make(name, env_id)
        for kind, make in (("single", single), ("vector", many))
        for env_id, names in (
            ("CartPole-v1", ("bare", *(name for name in NAMES if name != "bounds"))),
            ("Pendulum-v1", ("bare", "bounds")),
        )
        for name in names
    }
    best = dict.fromkeys(arms, float("inf"))
    for _ in range(rounds):
        for arm, run in arms.items():
            steps = 600 if arm.startswith("single") else 60
            started = time.process_time()
            run(steps)
            best[arm] = min(best[arm], (time.process_time() - started) / steps * 1e6)
    return best


def in_other_tree(folder: Path, rounds: int) -> dict[str, float]:
    command = [sys.executable, str(HERE), "--rounds", str(rounds), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def report(times: dict[str, float]) -> list[dict[str, Any]]:
    rows = []
    for arm, microseconds in times.items():
        kind, _, env_id = arm.split()
        ratio = microseconds / times[f"{kind} bare {env_id}"]
        rows.append(
            {
                "arm": arm,
                "microseconds per step": f"{microseconds:.1f}",
                "times bare": f"{ratio:.2f}",
            }
        )
    return rows


def compared(folder: Path, rounds: int, turns: int) -> list[dict[str, Any]]:
    ours, theirs = [], []
    for _ in range(turns):
        theirs.append(in_other_tree(folder, rounds))
        ours.append(in_other_tree(HERE.parents[1], rounds))
    rows = []
    for arm in ours[0]:
        old, new = (min(run[arm] for run in runs) for runs in (theirs, ours))
        middle = statistics.median(n[arm] / o[arm] for n, o in zip(ours, theirs, strict=True))
        rows.append(
            {
                "arm": arm, "there": f"{old:.1f}", "here": f"{new:.1f}",
                "here / there": f"{new / old:.2f}", "median of turns": f"{middle:.2f}",
            }
        )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="how often the arms take turns")
    parser.add_argument("--against", type=Path, help="a working tree to compare with")
    parser.add_argument("--turns", type=int, default=3, help="how often the trees take turns")
    parser.add_argument("--json", action="store_true", help="print the times only")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.against is not None:
        rows = compared(options.against.resolve(), options.rounds, options.turns)
        print(format_table(rows))
        return
    times = measure(options.rounds)
    print(json.dumps(times) if options.json else format_table(report(times)))


if __name__ == "__main__":
    main()
