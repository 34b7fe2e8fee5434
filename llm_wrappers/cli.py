"""The `llm-wrappers` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gymnasium.error import DependencyNotInstalled

from llm_wrappers._version import __version__
from llm_wrappers.envs import ENV_IDS
from llm_wrappers.errors import UserError

__all__ = ["main"]

_INTERRUPTED = 130
_USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status.

    Args:
        arguments: The command line without the program's name; None for that of the process.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (UserError, DependencyNotInstalled) as error:
        print(f"llm-wrappers: {error}", file=sys.stderr)
        return _USER_ERROR
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-wrappers",
        description="LLM guidance for reinforcement learning, as Gymnasium wrappers.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True)
    demo = commands.add_parser(
        "demo",
        help="train the same agent with and without guidance, and compare",
        description="Train the same agent with and without SGRL guidance on Craftax-Classic or "
        "Crafter: offline, without a key. The guidance was written by hand: no language model is "
        "asked. Ctrl-C keeps what was done and still reports.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument("--steps", type=_count, default=300_000, help="environment steps per run")
    demo.add_argument("--seeds", type=_count, default=1, help="how many seeds per arm")
    demo.add_argument("--first-seed", type=int, default=0, help="the first of the seeds")
    demo.add_argument("--env", default="llm_wrappers/CraftaxClassic-v1", choices=sorted(ENV_IDS))
    demo.add_argument(
        "--arms", nargs="+", default=["ppo", "sgrl"], metavar="ARM",
        help="what to compare; an unknown name lists all",
    )  # fmt: skip
    demo.add_argument("--num-envs", type=_count, default=64, help="environments that step together")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for all results")
    demo.add_argument("--no-progress", action="store_true", help="show no progress bar")
    demo.set_defaults(run=_demo)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from llm_wrappers.errors import require

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


def _count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, got {text!r}")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
