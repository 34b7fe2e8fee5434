"""ELLM's reward-free pretraining beside its baselines: `make bench-ellm`.

PPO is trained without the reward of the environment: by suggestions of several kinds (ELLM, arXiv
2302.06692), by novelty of observations (RND), or by nothing. What the agent achieves is counted all
the same. Each run is trained in a process of its own; one that is complete on disk is not trained
again. `--speed` measures what the wrapper costs instead.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from trainings import INTERRUPTED, Run, Trainings, say

import llm_wrappers
from llm_wrappers.demo.report import Measured
from llm_wrappers.demo.training import PPO_OPTIONS
from llm_wrappers.errors import LLMWrappersError
from llm_wrappers.methods import ellm
from llm_wrappers.sb3 import (
    EpisodeLogCallback,
    GridExtractor,
    RandomNetworkDistillation,
    as_vec_env,
)
from llm_wrappers.scores import (
    bootstrap_interval,
    crafter_score,
    format_table,
    interquartile_mean,
    read_episodes,
    success_rates,
)

CRAFTAX, ELLM_CRAFTER = "llm_wrappers/CraftaxClassic-v1", "llm_wrappers/EllmCrafter-v1"
OBSERVATIONS = {CRAFTAX: "symbolic observations", ELLM_CRAFTER: "pictures of 64 x 64"}
MEASURES = {
    "achievements": ("achievements/episode, last third", ".2f"),
    "all_achievements": ("achievements/episode, all", ".2f"),
    "reached": ("achievements reached, last third", ".1f"),
    "score": ("Crafter score, all", ".2f"),
    "last_score": ("score, last third", ".2f"),
    "steps_per_second": ("steps/s", ",.0f"),
}
FOOTNOTE = """\
Each cell: the interquartile mean over seeds (the plain mean of fewer than four), and in brackets a
95 % bootstrap interval over seeds. Episodes are those of training, exploration included. Last
third: the episodes that ended in the last third of the steps. Reached: achievements in at least 1 %
of these. The score over all training episodes is the official estimator, in percent; the other is
the same formula over fewer. Goals of the arms other than `llm:` are written by hand or drawn from a
list: no language model was asked for them."""


@dataclass(frozen=True)
class Arm:
    """What pays during pretraining.

    Args:
        summary: In a line.
        suggester: The name of a suggester; None for the arm without goals.
    """

    summary: str
    suggester: str | None


ARMS = {
    "ellm": Arm("goals of `--suggester`", None),
    "oracle": Arm("every possible goal", "oracle"),
    "uniform": Arm("5 goals at random", "uniform:5"),
    "novelty": Arm("all goals, always", "novelty"),
    "rnd": Arm("random network distillation", None),
    "none": Arm("no reward", "none"),
}


def suggester_of(arm: str, options: argparse.Namespace) -> str | None:
    """Return the name of the suggester of an arm, None for random network distillation."""
    return options.suggester if arm == "ellm" else ARMS[arm].suggester


def make_envs(env_id: str, num_envs: int) -> gym.vector.VectorEnv[Any, Any, Any]:
    native = gym.spec(env_id).vector_entry_point is not None
    in_same_step = {} if native else {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
    return gym.make_vec(env_id, num_envs=num_envs, vector_kwargs=in_same_step)


def make_model(arm: str, seed: int, options: argparse.Namespace) -> PPO:
    envs, suggester = make_envs(options.env, options.num_envs), suggester_of(arm, options)
    if suggester is not None:
        envs = ellm.wrap(envs, suggester, encoder=options.encoder)
    vec_env = as_vec_env(envs)
    if arm == "rnd":
        vec_env = RandomNetworkDistillation(vec_env, seed=seed)
    is_picture = len(vec_env.observation_space.shape) == 3
    network: dict[str, Any] = {"net_arch": [128, 128]}
    if not is_picture:
        network["features_extractor_class"] = GridExtractor
    # With few environments a rollout can be smaller than a batch, or no multiple of it.
    rollout = PPO_OPTIONS["n_steps"] * options.num_envs
    sizes = range(1, PPO_OPTIONS["batch_size"] + 1)
    ppo = {**PPO_OPTIONS, "batch_size": max(size for size in sizes if rollout % size == 0)}
    policy = "CnnPolicy" if is_picture else "MlpPolicy"
    return PPO(policy, vec_env, seed=seed, policy_kwargs=network, device="cpu", **ppo)


def train_one(run: Run, options: argparse.Namespace) -> int:
    """Train one arm with one seed in this process and leave its result on disk."""
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        run.folder.mkdir(parents=True, exist_ok=True)
        run.forget()
        (run.folder / "stats.jsonl").unlink(missing_ok=True)
        model = make_model(run.arm, run.seed, options)
        _compile(options)
        log = EpisodeLogCallback(run.folder / "stats.jsonl")
        started = time.perf_counter()
        model.learn(options.steps, callback=log)
        seconds = time.perf_counter() - started
        model.save(run.folder / "model.zip")
        model.get_env().close()
    except KeyboardInterrupt:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending already
        return INTERRUPTED
    run.finish(steps=model.num_timesteps, seconds=seconds)
    return 0


def _compile(options: argparse.Namespace) -> None:
    """Take one step, so that compiling is not counted as training."""
    envs = make_envs(options.env, options.num_envs)
    envs.reset(seed=0)
    envs.step(np.zeros(options.num_envs, dtype=np.int64))
    envs.close()


def measures_of(run: Run) -> dict[str, Any]:
    """Return what one complete run came to: a number for each measure, and the success rates."""
    result, episodes = run.result(), read_episodes(run.folder / "stats.jsonl")
    assert result is not None
    late = [e for e in episodes if e["env_steps"] > result["steps"] * 2 / 3]
    rates, late_rates = (success_rates(part) if part else {} for part in (episodes, late))
    return {
        "arm": run.arm,
        "seed": run.seed,
        "episodes": len(episodes),
        # The mean number of achievements of an episode is the sum of their rates.
        "achievements": sum(late_rates.values()) / 100,
        "all_achievements": sum(rates.values()) / 100,
        "reached": float(sum(rate >= 1.0 for rate in late_rates.values())),
        "score": crafter_score(rates) if rates else 0.0,
        "last_score": crafter_score(late_rates) if late_rates else 0.0,
        "steps_per_second": result["steps"] / max(result["seconds"], 1e-9),
        "last_success_rates": late_rates,
    }


def table_of(summaries: Sequence[dict[str, Any]], options: argparse.Namespace) -> str:
    rows: list[dict[str, object]] = []
    for arm in dict.fromkeys(summary["arm"] for summary in summaries):
        runs = [summary for summary in summaries if summary["arm"] == arm]
        cells: dict[str, object] = {
            "arm": arm,
            "what pays": options.suggester if arm == "ellm" else ARMS[arm].summary,
            "seeds": len(runs),
        }
        for key, (column, form) in MEASURES.items():
            values = tuple(run[key] for run in runs)
            low, high = bootstrap_interval(values)
            ends = (None, None) if np.isnan(low) else (low, high)
            cells[column] = Measured(values, interquartile_mean(values), *ends).written(form)
        rows.append(cells)
    return format_table(rows)


def reached_of(summaries: Sequence[dict[str, Any]]) -> str:
    """Return which achievements each arm reached in the last third, by mean rate over seeds."""
    lines = []
    for arm in dict.fromkeys(summary["arm"] for summary in summaries):
        runs = [s["last_success_rates"] for s in summaries if s["arm"] == arm]
        rates = {name: np.mean([run.get(name, 0.0) for run in runs]) for name in runs[0]}
        often = sorted((-rate, name) for name, rate in rates.items() if rate >= 1.0)
        named = ", ".join(f"{name} {-rate:.0f} %" for rate, name in often)
        lines.append(f"- {arm}: {named or 'nothing'}")
    return "\n".join(lines)


def report(trainings: Trainings, options: argparse.Namespace) -> str:
    """Write `table.md` and `summary.json` about what is complete, and return the table."""
    summaries = [measures_of(run) for run in trainings.complete()]
    seeds, missing = ", ".join(map(str, options.seeds)), len(trainings.missing())
    title = (
        f"Reward-free pretraining with PPO on {options.env} ({OBSERVATIONS[options.env]}): "
        f"{options.steps:,} steps a run, {options.num_envs} environments, seeds {seeds}"
    )
    if missing:
        title += f"\n{missing} runs are missing"
    text = "\n\n".join((title, table_of(summaries, options), reached_of(summaries), FOOTNOTE))
    (options.out / "table.md").write_text(text + "\n", encoding="utf-8")
    (options.out / "summary.json").write_text(json.dumps(summaries, indent=2), encoding="utf-8")
    return text


def run_of(arm: str, seed: int, options: argparse.Namespace) -> Run:
    asked = {
        "version": llm_wrappers.__version__,
        "env": options.env,
        "steps": options.steps,
        "num_envs": options.num_envs,
        "arm": {**asdict(ARMS[arm]), "suggester": suggester_of(arm, options)},
        "encoder": options.encoder,
        "ppo": PPO_OPTIONS,
    }
    return Run(arm, seed, options.out / arm / f"seed-{seed}", asked)


def compare_all(options: argparse.Namespace) -> int:
    """Train what is missing, print the table of what there is, and return the exit status."""

    def command(run: Run) -> list[str]:
        return [
            sys.executable, __file__, "--one", "--env", options.env, "--arms", run.arm,
            "--seeds", str(run.seed), "--steps", str(options.steps),
            "--num-envs", str(options.num_envs), "--out", str(options.out),
            "--encoder", options.encoder, "--suggester", options.suggester,
        ]  # fmt: skip

    runs = [run_of(arm, seed, options) for arm in options.arms for seed in options.seeds]
    trainings = Trainings(runs, command=command, processes=options.processes)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    failures, status = [], 0
    try:
        failures = trainings.train_missing()
    except KeyboardInterrupt:
        say("interrupted: the same command goes on from here")
        status = INTERRUPTED
    if trainings.complete():
        print(f"\n{report(trainings, options)}")
    for failure in failures:
        say(f"failed: {failure}")
    return status or int(bool(failures))


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arms", nargs="+", choices=ARMS, metavar="ARM", help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--steps", type=int, default=200_000, help="environment steps per run")
    parser.add_argument("--num-envs", type=int, default=64, help="environments of each run")
    parser.add_argument("--env", default=CRAFTAX, choices=OBSERVATIONS)
    parser.add_argument(
        "--suggester", help="of the arm `ellm`, such as llm:MODEL?cache=FILE", metavar="NAME"
    )
    parser.add_argument("--encoder", default="hashing", help="of captions and goals")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--out", type=Path, default=Path("runs/ellm"))
    parser.add_argument("--speed", action="store_true", help="measure what the wrapper costs")
    parser.add_argument("--rounds", type=int, default=5, help="with --speed: turns of each arm")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    needs_reference = {"ellm", "oracle"} if options.env == ELLM_CRAFTER else set()
    if options.suggester is None and options.env == CRAFTAX:
        options.suggester = "reference:craftax-classic"
    elif options.suggester is not None:
        needs_reference.discard("ellm")
    else:
        options.suggester = "none"
    if options.arms is None:
        options.arms = [arm for arm in ARMS if arm not in needs_reference]
    refused = sorted(needs_reference & set(options.arms))
    if refused:
        parser.error(
            f"no reference guidance ships for {options.env}, so that {refused} cannot run; "
            "leave them out, or give --suggester for ellm"
        )
    for name in ("steps", "num_envs", "processes", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"{name} must be >= 1, got {getattr(options, name)}")
    for name in ("arms", "seeds"):
        if len(set(getattr(options, name))) < len(getattr(options, name)):
            parser.error(f"{name} must not repeat, got {getattr(options, name)}")
    if min(options.seeds) < 0:
        parser.error(f"seeds must be >= 0, got {options.seeds}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = read_options(arguments)
    if options.speed:
        from ellm_speed import measure

        print(measure(options.rounds))
        return 0
    try:
        if options.one:
            return train_one(run_of(options.arms[0], options.seeds[0], options), options)
        return compare_all(options)
    except LLMWrappersError as error:
        say(f"error: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
