"""The arms of SGRL side by side: `make ablations`, or with options for fewer arms, seeds, steps.

Each arm is trained with each seed in a process of its own, as many at a time as there are cores;
runs that are complete on disk are not trained again. The table has the interquartile mean over
seeds and a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from llm_wrappers.demo import ARMS
from llm_wrappers.demo.report import write_report
from llm_wrappers.demo.training import RunResult, train_arm
from llm_wrappers.envs import ENV_IDS


def asked(options: argparse.Namespace) -> dict[str, object]:
    """Return what makes a result on disk the one that is wanted."""
    return {"env": options.env, "steps": options.steps, "num_envs": options.num_envs}


def run_one(options: argparse.Namespace) -> None:
    """Train one arm with one seed in this process and leave its result on disk."""
    (options.only / "result.json").unlink(missing_ok=True)
    result = train_arm(
        options.arms[0],
        env_id=options.env,
        seed=options.seeds[0],
        steps=options.steps,
        num_envs=options.num_envs,
        folder=options.only,
        progress_bar=False,
    )
    if result.interrupted:
        raise SystemExit(130)
    record = {"steps": result.steps, "seconds": result.seconds, "asked": asked(options)}
    (options.only / "result.json").write_text(json.dumps(record), encoding="utf-8")


def run_in_process(options: argparse.Namespace, arm: str, seed: int) -> RunResult:
    """Train in a process of its own, unless the complete result is there."""
    folder = options.out / arm / f"seed-{seed}"
    path = folder / "result.json"
    done = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if done.get("asked") != asked(options):
        command = [
            sys.executable, __file__, "--only", str(folder), "--env", options.env,
            "--arms", arm, "--seeds", str(seed),
            "--steps", str(options.steps), "--num-envs", str(options.num_envs),
        ]  # fmt: skip
        # One thread per process: two small networks on two threads each only wait for each other.
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        done = json.loads(path.read_text(encoding="utf-8"))
        print(f"{arm}, seed {seed}: {done['seconds']:.0f} s", flush=True)
    return RunResult(arm, seed, folder, done["steps"], done["seconds"], interrupted=False)


def run_all(options: argparse.Namespace) -> Sequence[RunResult]:
    jobs = [(arm, seed) for seed in options.seeds for arm in options.arms]
    with ThreadPoolExecutor(options.processes) as pool:
        results = list(pool.map(lambda job: run_in_process(options, *job), jobs))
    return sorted(results, key=lambda result: (options.arms.index(result.arm), result.seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--env", default="llm_wrappers/CraftaxClassic-v1", choices=list(ENV_IDS))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--only", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        run_one(options)
        return
    results = run_all(options)
    title = f"{options.env}, {options.steps:,} steps, {options.num_envs} environments"
    print(f"\n{write_report(results, options.out, title=title)}")


if __name__ == "__main__":
    main()
