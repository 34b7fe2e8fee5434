"""SGRL's ablations side by side, trained with the same seeds: `make ablations`.

`--list` names the arms: the paper's own ablations, what its reviewers asked for, and shapes of
annealing. Each run is trained in a process of its own; one that is complete on disk is not trained
again, so an interrupted comparison goes on where it stopped. One table has every measure with its
interquartile mean and a 95 % bootstrap interval over seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import llm_wrappers
from llm_wrappers.demo import ARMS, Experiment
from llm_wrappers.demo.comparison import write_comparison
from llm_wrappers.demo.training import PPO_OPTIONS, RunResult, train_arm
from llm_wrappers.errors import LLMWrappersError

INTERRUPTED = 130
OBSERVATIONS = {
    "llm_wrappers/CraftaxClassic-v1": "symbolic observations",
    "llm_wrappers/Crafter-v1": "pictures of 64 x 64",
}


class Trainings:
    """Every arm with every seed, each in a process of its own.

    Args:
        experiment: What to train.
        processes: How many train at the same time.
    """

    def __init__(self, experiment: Experiment, processes: int) -> None:
        self._experiment = experiment
        self._processes = processes
        self._living: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False
        # In the order of the table, and not of training.
        self.results = [found(experiment, a, s) for a in experiment.arms for s in experiment.seeds]

    def missing(self) -> list[RunResult]:
        """Return the runs that are not complete, seed by seed."""
        return sorted((run for run in self.results if not run.steps), key=lambda run: run.seed)

    def complete(self) -> list[RunResult]:
        """Return the runs that are."""
        return [run for run in self.results if run.steps]

    def train_missing(self) -> list[str]:
        """Train what is missing, and return what went wrong; Ctrl-C ends the processes."""
        missing, failures = self.missing(), []
        if len(missing) < len(self.results):
            say(f"{len(self.results) - len(missing)} of {len(self.results)} runs are complete")
        started = time.perf_counter()
        with ThreadPoolExecutor(self._processes) as pool:
            try:
                futures = {pool.submit(self._train, run): run for run in missing}
                for done, future in enumerate(as_completed(futures), start=1):
                    run, error = futures[future], future.exception()
                    if error:
                        failures.append(f"{run.arm}, seed {run.seed}: {error}")
                    left = (time.perf_counter() - started) / done * (len(missing) - done)
                    say(
                        f"[{done}/{len(missing)}] {run.arm}, seed {run.seed}: "
                        f"{error or 'done'}; about {left / 60:.0f} minutes left"
                    )
            except KeyboardInterrupt:
                self._stop(pool)
                raise
            finally:
                e = self._experiment
                self.results = [found(e, run.arm, run.seed) for run in self.results]
        return failures

    def _train(self, run: RunResult) -> None:
        with self._lock:
            if self._stopped:
                return
            process = subprocess.Popen(
                command(self._experiment, run, self._processes),
                # One thread each: two small networks on two threads only wait for each other.
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                # Ctrl-C in a terminal reaches a whole group, and once is enough.
                start_new_session=True,
            )
            self._living.add(process)
        status = process.wait()
        with self._lock:
            self._living.discard(process)
        if status:
            raise RuntimeError(f"training ended with status {status}")

    def _stop(self, pool: ThreadPoolExecutor) -> None:
        pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._stopped = True
            for process in self._living:
                process.terminate()


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def asked(experiment: Experiment, arm: str) -> Any:
    """Return what makes a result on disk the one that is wanted."""
    wanted = {
        "version": llm_wrappers.__version__,
        "env": experiment.env_id,
        "steps": experiment.steps,
        "num_envs": experiment.num_envs,
        "arm": asdict(ARMS[arm]),
        "ppo": PPO_OPTIONS,
    }
    return json.loads(json.dumps(wanted))


def found(experiment: Experiment, arm: str, seed: int) -> RunResult:
    """Return the complete run that is on disk, or one of no steps."""
    folder = experiment.out / arm / f"seed-{seed}"
    path = folder / "result.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if record.get("asked") != asked(experiment, arm):
        return RunResult(arm, seed, folder, 0, 0.0, interrupted=False)
    return RunResult(arm, seed, folder, record["steps"], record["seconds"], interrupted=False)


def command(experiment: Experiment, run: RunResult, processes: int) -> list[str]:
    """Return the command that trains one run."""
    return [
        sys.executable, __file__, "--one", "--env", experiment.env_id, "--arms", run.arm,
        "--seeds", str(run.seed), "--steps", str(experiment.steps),
        "--num-envs", str(experiment.num_envs), "--out", str(experiment.out),
        "--processes", str(processes),
    ]  # fmt: skip


def train_one(experiment: Experiment) -> int:
    """Train one arm with one seed in this process and leave its result on disk."""
    (arm,), (seed,) = experiment.arms, experiment.seeds
    folder = experiment.out / arm / f"seed-{seed}"
    (folder / "result.json").unlink(missing_ok=True)
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        result = train_arm(
            arm,
            env_id=experiment.env_id,
            seed=seed,
            steps=experiment.steps,
            num_envs=experiment.num_envs,
            folder=folder,
            progress_bar=experiment.progress_bar,
        )
    except KeyboardInterrupt:  # before or after the training itself
        return INTERRUPTED
    if result.interrupted:
        return INTERRUPTED
    record = {"asked": asked(experiment, arm), "steps": result.steps, "seconds": result.seconds}
    temporary = folder / "result.tmp"
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(folder / "result.json")
    return 0


def compare_all(experiment: Experiment, processes: int) -> int:
    """Train what is missing, print the table of what there is, and return the exit status."""
    trainings = Trainings(experiment, processes)
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
            title += f"\n{missing} of {len(trainings.results)} runs are missing"
        print(f"\n{write_comparison(complete, experiment.out, title=title)}")
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
