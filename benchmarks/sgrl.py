"""SGRL's ablations side by side, trained with the same seeds: `make ablations`.

`--list` names the arms: the paper's own ablations, what its reviewers asked for, and shapes of
annealing. Each run is trained in a process of its own; one that is complete on disk is not trained
again, so an interrupted comparison goes on where it stopped. One table has every measure with its
interquartile mean and a 95 % bootstrap interval over seeds.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainings import INTERRUPTED, Run, Trainings, say

import llm_wrappers
from llm_wrappers.demo import ARMS, Experiment
from llm_wrappers.demo.report import write_comparison
from llm_wrappers.demo.training import PPO_OPTIONS, RunResult, train_arm
from llm_wrappers.errors import LLMWrappersError

OBSERVATIONS = {
    "llm_wrappers/CraftaxClassic-v1": "symbolic observations",
    "llm_wrappers/Crafter-v1": "pictures of 64 x 64",
}


def asked(experiment: Experiment, arm: str) -> dict[str, Any]:
    """Return what makes a result on disk the one that is wanted."""
    return {
        "version": llm_wrappers.__version__,
        "env": experiment.env_id,
        "steps": experiment.steps,
        "num_envs": experiment.num_envs,
        "arm": asdict(ARMS[arm]),
        "ppo": PPO_OPTIONS,
    }


def run_of(experiment: Experiment, arm: str, seed: int) -> Run:
    """Return one arm with one seed."""
    return Run(arm, seed, experiment.out / arm / f"seed-{seed}", asked(experiment, arm))


def result_of(run: Run) -> RunResult:
    """Return what a complete run left on disk."""
    noted = run.result() or {}
    return RunResult(
        run.arm, run.seed, run.folder, noted["steps"], noted["seconds"], interrupted=False
    )


def train_one(experiment: Experiment) -> int:
    """Train one arm with one seed in this process and leave its result on disk."""
    (arm,), (seed,) = experiment.arms, experiment.seeds
    run = run_of(experiment, arm, seed)
    run.forget()
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        result = train_arm(
            arm,
            env_id=experiment.env_id,
            seed=seed,
            steps=experiment.steps,
            num_envs=experiment.num_envs,
            folder=run.folder,
            progress_bar=experiment.progress_bar,
        )
    except KeyboardInterrupt:  # before or after the training itself
        return INTERRUPTED
    if result.interrupted:
        return INTERRUPTED
    run.finish(steps=result.steps, seconds=result.seconds)
    return 0


def compare_all(experiment: Experiment, processes: int) -> int:
    """Train what is missing, print the table of what there is, and return the exit status."""

    def command(run: Run) -> list[str]:
        return [
            sys.executable, __file__, "--one", "--env", experiment.env_id, "--arms", run.arm,
            "--seeds", str(run.seed), "--steps", str(experiment.steps),
            "--num-envs", str(experiment.num_envs), "--out", str(experiment.out),
            "--processes", str(processes),
        ]  # fmt: skip

    # In the order of the table, and not of training.
    runs = [run_of(experiment, arm, seed) for arm in experiment.arms for seed in experiment.seeds]
    trainings = Trainings(runs, command=command, processes=processes)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    failures, status = [], 0
    try:
        failures = trainings.train_missing()
    except KeyboardInterrupt:
        say("interrupted: the same command goes on from here")
        status = INTERRUPTED
    complete, missing = trainings.complete(), len(trainings.missing())
    if complete:
        title = title_of(experiment)
        if missing:
            title += f"\n{missing} of {len(runs)} runs are missing"
        results = [result_of(run) for run in complete]
        print(f"\n{write_comparison(results, experiment.out, title=title)}")
    for failure in failures:
        say(f"failed: {failure}")
    return status or int(bool(failures))


def title_of(experiment: Experiment) -> str:
    seeds = ", ".join(map(str, experiment.seeds))
    return (
        f"SGRL ablations on {experiment.env_id} ({OBSERVATIONS[experiment.env_id]}): "
        f"{experiment.steps:,} steps a run, {experiment.num_envs} environments, seeds {seeds}"
    )


def list_arms() -> int:
    width = max(map(len, ARMS))
    for name, arm in ARMS.items():
        print(f"{name:{width}}  {arm.summary}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="list the arms")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), help="default: all", metavar="ARM")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--steps", type=int, default=300_000, help="environment steps per run")
    parser.add_argument("--num-envs", type=int, default=64, help="environments of each run")
    parser.add_argument("--env", default="llm_wrappers/CraftaxClassic-v1", choices=OBSERVATIONS)
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="runs trained at the same time"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.list:
        return list_arms()
    if options.processes < 1:
        parser.error(f"--processes must be >= 1, got {options.processes}")
    try:
        experiment = Experiment(
            env_id=options.env,
            arms=options.arms,
            seeds=options.seeds,
            steps=options.steps,
            num_envs=options.num_envs,
            out=options.out,
            progress_bar=options.processes == 1 and sys.stderr.isatty(),
        )
    except LLMWrappersError as error:
        parser.error(str(error))
    return train_one(experiment) if options.one else compare_all(experiment, options.processes)


if __name__ == "__main__":
    sys.exit(main())
