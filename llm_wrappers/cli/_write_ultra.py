"""`llm-wrappers write ultra`: have a language model correct what a trained policy did."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm_wrappers.cli._arguments import Commands, count, make_env
from llm_wrappers.cli._client import add_client_options, client_of
from llm_wrappers.errors import AuthoringError, InvalidOptionError
from llm_wrappers.guidance.trajectory import Trajectory
from llm_wrappers.guidance.trajectory_files import open_trajectories

__all__ = ["add_method"]


def add_method(methods: Commands) -> None:
    """Add the method to those that `write` knows."""
    ultra = methods.add_parser(
        "ultra",
        help="corrections of the critical steps of a trained policy",
        description="Play episodes with a trained policy, have a model find the steps that "
        "decided them and correct these, and save the table with which the policy is trained on. "
        "Answers are kept in a cache: interrupted or repeated, it pays only for what is missing.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    ultra.add_argument("--env", required=True, help="id of the environment")
    ultra.add_argument("--policy", type=Path, default=None, help="a model that SB3 saved: .zip")
    ultra.add_argument("--model", default=None, help="as litellm names it: openai/gpt-5-mini")
    ultra.add_argument("--out", type=Path, required=True, help="file for the table")
    ultra.add_argument("--episodes", type=count, default=10, help="episodes to play")
    ultra.add_argument("--per-episode", type=count, default=5, help="critical states in each")
    ultra.add_argument(
        "--history", type=Path, default=None,
        help="folder of episodes: if there are any in it they are used, else they are kept there",
    )  # fmt: skip
    ultra.add_argument("--key", default="nearest:0.25", help="when states count as the same")
    ultra.add_argument("--part", default=None, help="the part of a Dict observation that tells")
    ultra.add_argument("--selector", default=None, help="who finds: random, return-drop, ...")
    ultra.add_argument("--corrector", default=None, help="who corrects: reference, policy:FILE...")
    ultra.add_argument("--seed", type=int, default=0, help="seed of the playing")
    add_client_options(ultra)
    ultra.set_defaults(run=_write)


def _write(options: argparse.Namespace) -> int:
    from llm_wrappers.methods import ultra
    from llm_wrappers.sb3.model_files import load_model

    asks = options.selector is None or options.corrector is None
    if asks and options.model is None:
        raise InvalidOptionError("give --model, or both --selector and --corrector")
    model = None if options.policy is None else load_model(options.policy)
    env = make_env(options.env)
    with contextlib.ExitStack() as stack:
        stack.callback(env.close)
        llm = stack.enter_context(client_of(options)) if asks else None
        try:
            trajectories = _history(model, env, options)
            selector, corrector = ultra.resolve_guides(
                env, llm=llm, selector=options.selector, corrector=options.corrector,
                model=model, part=options.part, seed=options.seed,
            )  # fmt: skip
            report = ultra.write_guidance(
                trajectories, selector=selector, corrector=corrector,
                per_episode=options.per_episode, key=options.key, part=options.part,
            )  # fmt: skip
        finally:
            if llm is not None and len(llm.usage):
                print(f"{llm.usage}\n")
    if not len(report.critical_states):
        raise AuthoringError(
            f"no critical state was found in {len(trajectories)} episodes, {options.out} is not "
            f"written:\n{report}"
        )
    report.critical_states.save(options.out)
    print(f"{report}\n\nThe table is in {options.out}. Train on with the critical states")
    print(f"  file:{options.out}")
    return 0


def _history(model: Any, env: Any, options: argparse.Namespace) -> Sequence[Trajectory]:
    from llm_wrappers.sb3 import record_trajectories

    folder = options.history
    if folder is not None and folder.is_dir() and len(open_trajectories(folder)):
        recorded = open_trajectories(folder)
        print(f"{len(recorded)} episodes are in {folder}; none are played\n")
        return recorded
    if model is None:
        raise InvalidOptionError("give --policy, or a --history that has episodes")
    return record_trajectories(
        model, env, episodes=options.episodes, seed=options.seed, folder=folder, progress_bar=True
    )
