"""ULTRA's refinement with advice of known quality, side by side: `make bench-ultra`.

A policy that is stopped early is trained on with PPO, with and without advice at critical states
(ULTRA, arXiv 2505.20671). No language model is asked: the advice is that of an oracle, a rule
written by hand (Pong) or a policy that was trained for longer, so that what the refinement does can
be told from how good a model is. Moments are picked at random, by the policy's own critic, or by
the oracle. What is measured is the return without advice, of sampled actions. `--list` names
environments and arms. Each training is kept on disk, so an interrupted benchmark goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ultra_cells
from trainings import INTERRUPTED, Run, Trainings, say
from ultra_tasks import ARMS, FRAMES, NUM_ENVS, NUMBERS, Task, tasks

import llm_wrappers
from llm_wrappers.errors import LLMWrappersError
from llm_wrappers.scores import bootstrap_interval, format_table, interquartile_mean

PREPARE = "prepare"
SIZES = ("steps", "pretraining", "oracle", "history", "episodes")
SETTINGS = (*SIZES, "alpha")
QUICK = ("pong", "hopper")
FOOTNOTE = "Advice is a rule's or a better policy's: no language model was asked."


def task_of(name: str, options: argparse.Namespace) -> Task:
    """Return an environment with the sizes that were asked for."""
    settings = {setting: getattr(options, setting) for setting in SETTINGS}
    return ultra_cells.changed(tasks(options.observation)[name], settings)


def folder_of(name: str, options: argparse.Namespace) -> Path:
    """Return where everything about an environment is kept."""
    out: Path = options.out / (f"{name}-{FRAMES}" if options.observation == FRAMES else name)
    return out


def preparation_of(name: str, options: argparse.Namespace) -> Run:
    """Return the run that trains the sub-optimal policy and the oracle."""
    described = {key: value for key, value in vars(task_of(name, options)).items() if key != "make"}
    for later in ("steps", "seeds", "per_episode", "radius", "scale", "tolerance", "alpha"):
        del described[later]
    asked = {
        "version": llm_wrappers.__version__,
        "observation": options.observation,
        "num_envs": NUM_ENVS,
        **described,
    }
    return Run(PREPARE, 0, folder_of(name, options) / PREPARE, asked)


def run_of(name: str, arm: str, seed: int, options: argparse.Namespace) -> Run:
    """Return one training from the sub-optimal policy."""
    task = task_of(name, options)
    later = (task.steps, task.per_episode, task.radius, task.scale, task.tolerance, task.alpha)
    asked = {
        "prepared": preparation_of(name, options).asked,
        "arm": asdict(ARMS[arm]),
        "later": later,
        "seed": seed,
    }
    folder = folder_of(name, options) / arm.replace(" ", "-") / f"seed-{seed}"
    return Run(arm, seed, folder, asked)


def runs_of(name: str, options: argparse.Namespace) -> list[Run]:
    """Return the trainings of one environment."""
    seeds = options.seeds if options.seeds is not None else range(task_of(name, options).seeds)
    return [run_of(name, arm, seed, options) for arm in options.arms for seed in seeds]


def train_one(name: str, options: argparse.Namespace) -> int:
    """Do one run in this process and leave its result on disk."""
    arm, task = options.one, task_of(name, options)
    prepared = preparation_of(name, options)
    run = prepared if arm == PREPARE else run_of(name, arm, options.seeds[0], options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run.folder.mkdir(parents=True, exist_ok=True)
    run.forget()
    started = time.perf_counter()
    try:
        if arm == PREPARE:
            found = ultra_cells.prepare(task, run.folder)
        else:
            found = ultra_cells.fine_tune(task, arm, run.seed, prepared.folder)
    except KeyboardInterrupt:
        return INTERRUPTED
    run.finish(**found, seconds=time.perf_counter() - started)
    return 0


def train_missing(name: str, options: argparse.Namespace) -> list[str]:
    """Prepare an environment and train its arms, where that is not done; return what failed."""

    def command(run: Run) -> list[str]:
        settings = {setting: getattr(options, setting) for setting in SETTINGS}
        given = [f"--{key}={value}" for key, value in settings.items() if value is not None]
        return [
            sys.executable, __file__, "--one", run.arm, "--env", name, "--seeds", str(run.seed),
            "--observation", options.observation, "--out", str(options.out), *given,
        ]  # fmt: skip

    failures: list[str] = []
    for runs in ([preparation_of(name, options)], runs_of(name, options)):
        failures += Trainings(runs, command=command, processes=options.processes).train_missing()
        if failures:
            break
    return [f"{name}, {failure}" for failure in failures]


def report(name: str, options: argparse.Namespace) -> str | None:
    """Return the table of what is complete, and write it beside the results; None if nothing is."""
    prepared, runs = preparation_of(name, options).result(), runs_of(name, options)
    results = [(run, found) for run in runs if (found := run.result()) is not None]
    if prepared is None or not results:
        return None
    rows = [_reference("before", prepared["before"])]
    if prepared["oracle"] is not None:
        rows.append(_reference("oracle", prepared["oracle"]))
    after: dict[str, list[dict[str, Any]]] = {}
    for run, found in results:
        after.setdefault(run.arm, []).append(found)
    rows += [_row(arm, found) for arm, found in after.items()]
    middles = {arm: interquartile_mean(_means(found)) for arm, found in after.items()}
    order = ", ".join(sorted(middles, key=lambda arm: -middles[arm]))
    title = _title(name, options, missing=len(runs) - len(results))
    text = f"{title}\n\n{format_table(rows)}\n\nHighest first: {order}."
    (folder_of(name, options) / "table.md").write_text(text + "\n", encoding="utf-8")
    return text


def _title(name: str, options: argparse.Namespace, *, missing: int) -> str:
    task = task_of(name, options)
    seeds = ", ".join(
        str(seed) for seed in dict.fromkeys(run.seed for run in runs_of(name, options))
    )
    oracle = "a rule" if task.has_rule else f"PPO after {task.oracle:,} more steps"
    title = (
        f"{task.env_id} ({task.describes}), PPO, {task.steps:,} steps from a policy of "
        f"{task.pretraining:,} steps, seeds {seeds}; oracle: {oracle}; {task.history} episodes "
        f"with up to {task.per_episode} critical states each, radius {task.radius}, "
        f"alpha {task.alpha}: mean return of {task.episodes} episodes without advice, "
        "interquartile mean over seeds (95 % bootstrap interval)"
    )
    return f"{title}\n{missing} runs are missing" if missing else title


def _reference(name: str, returns: Sequence[float]) -> dict[str, Any]:
    return {"arm": name, "seeds": None, "return": f"{statistics.mean(returns):,.1f}"}


def _row(arm: str, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    means = _means(results)
    written = f"{interquartile_mean(means):,.1f}"
    if len(means) > 1:
        low, high = bootstrap_interval(means)
        written += f" ({low:,.1f} to {high:,.1f})"
    row: dict[str, Any] = {"arm": arm, "seeds": len(means), "return": written}
    if "hits" in results[0]:
        hits, overrides, agreement = (
            statistics.mean(result[key] for result in results)
            for key in ("hits", "overrides", "agreement")
        )
        row["hits per 1,000"] = f"{hits:.0f}"
        row["overrides per 1,000"] = f"{overrides:.0f}"
        row["agent agrees"] = f"{agreement:.0%}"
    return row


def _means(results: Sequence[dict[str, Any]]) -> list[float]:
    return [statistics.mean(result["returns"]) for result in results]


def list_all(observation: str) -> int:
    for name, task in tasks(observation).items():
        print(
            f"{name}: {task.env_id} ({task.describes}), {task.steps:,} steps, seeds: {task.seeds}, "
            f"alpha {task.alpha}, oracle {'a rule' if task.has_rule else 'a policy'}"
        )
    for arm, described in ARMS.items():
        picked = f"; moments: {described.selector}" if described.selector else ""
        print(f"arm {json.dumps(arm)}: {described.summary}{picked}")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = list(tasks())
    parser.add_argument("--list", action="store_true", help="list environments and arms")
    parser.add_argument(
        "--env", nargs="+", choices=names, default=list(QUICK), metavar="ENV",
        help=f"of {', '.join(names)}; default: {' '.join(QUICK)}",
    )  # fmt: skip
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: each one's own")
    parser.add_argument("--observation", choices=(NUMBERS, FRAMES), default=NUMBERS, help="of Pong")
    for size, meaning in zip(SIZES, (
        "steps of fine-tuning", "steps before the policy is called sub-optimal",
        "further steps before it is called the oracle", "episodes in which moments are picked",
        "episodes to measure a policy",
    ), strict=True):  # fmt: skip
        parser.add_argument(f"--{size}", type=int, metavar="N", help=meaning)
    parser.add_argument("--alpha", type=float, help="size of the rewards; default: the paper's")
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    parser.add_argument("--out", type=Path, default=Path("runs/ultra"))
    parser.add_argument("--one", choices=(PREPARE, *ARMS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    for name in (*SIZES, "processes"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, got {value}")
    if options.alpha is not None and not 0.0 <= options.alpha < float("inf"):
        parser.error(f"--alpha must be a finite number from 0, got {options.alpha}")
    if options.seeds and min(options.seeds) < 0:
        parser.error(f"--seeds must be at least 0, got {min(options.seeds)}")
    if options.observation == FRAMES and options.env != ["pong"]:
        parser.error("--observation frames is for Pong only: give --env pong")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.list:
        return list_all(options.observation)
    if options.one:
        return train_one(options.env[0], options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    failures, status = [], 0
    try:
        for name in options.env:
            failures += train_missing(name, options)
    except KeyboardInterrupt:
        say("interrupted: the same command goes on from here")
        status = INTERRUPTED
    except LLMWrappersError as error:
        say(f"error: {error}")
        status = 2
    for name in options.env:
        text = report(name, options)
        if text is not None:
            print(f"{text}\n")
    print(FOOTNOTE)
    for failure in failures:
        say(f"failed: {failure}")
    return status or int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
