"""`llm-wrappers demo`: train the same agent with and without guidance."""

from __future__ import annotations

import argparse
from pathlib import Path

from llm_wrappers.cli._options import Commands, count
from llm_wrappers.errors import require
from llm_wrappers.worlds import ENV_IDS

__all__ = ["add_command"]

_INTERRUPTED = 130


def add_command(commands: Commands) -> None:
    """Add the command to those that there are."""
    demo = commands.add_parser(
        "demo",
        help="train the same agent with and without guidance, and compare",
        description="Train the same agent with and without SGRL guidance on Craftax-Classic or "
        "Crafter: offline, without a key. The guidance was written by hand: no language model is "
        "asked. Ctrl-C keeps what was done and still reports.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument("--steps", type=count, default=300_000, help="environment steps per run")
    demo.add_argument("--seeds", type=count, default=1, help="how many seeds per arm")
    demo.add_argument("--first-seed", type=int, default=0, help="the first of the seeds")
    demo.add_argument("--env", default="llm_wrappers/CraftaxClassic-v1", choices=sorted(ENV_IDS))
    demo.add_argument(
        "--arms", nargs="+", default=["ppo", "sgrl"], metavar="ARM",
        help="what to compare; an unknown name lists all",
    )  # fmt: skip
    demo.add_argument("--num-envs", type=count, default=64, help="environments that step together")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for all results")
    demo.add_argument("--no-progress", action="store_true", help="show no progress bar")
    demo.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    # Said now, and not when the pictures are drawn after hours of training.
    for module in ("stable_baselines3", "sb3_contrib", "matplotlib", "tqdm"):
        require(module, extra="sb3")
    from llm_wrappers.demo import Experiment, run_experiment

    experiment = Experiment(
        env_id=options.env,
        arms=options.arms,
        seeds=range(options.first_seed, options.first_seed + options.seeds),
        steps=options.steps,
        num_envs=options.num_envs,
        out=options.out,
        progress_bar=not options.no_progress,
    )
    outcome = run_experiment(experiment)
    print(f"\n{outcome.table}\n\nEverything is in {options.out}")
    return _INTERRUPTED if outcome.interrupted else 0
