"""`llm-wrappers write ultra`: have a language model correct what a trained policy did."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from llm_wrappers.cli._options import Commands, add_client_options, client_of, count, make_env
from llm_wrappers.errors import (
    AuthoringError,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.trajectories.files import TrajectoryFiles, open_trajectories
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["add_method"]

_POLICY = "policy_sha256"


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
    ultra.add_argument(
        "--vec-normalize", type=Path, default=None,
        help="what VecNormalize.save wrote, if the policy was trained behind one: .pkl",
    )  # fmt: skip
    ultra.add_argument("--model", default=None, help="as litellm names it: openai/gpt-5-mini")
    ultra.add_argument("--out", type=Path, required=True, help="file for the table")
    ultra.add_argument("--episodes", type=count, default=10, help="episodes to look at")
    ultra.add_argument("--per-episode", type=count, default=5, help="critical states in each")
    ultra.add_argument(
        "--history", type=Path, default=None,
        help="folder of episodes: those in it are used, what is missing is played and kept there",
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
    from llm_wrappers.methods.ultra.guidance import check_writable

    asks = options.selector is None or options.corrector is None
    if asks and options.model is None:
        raise InvalidOptionError("give --model, or both --selector and --corrector")
    check_writable(options.out)
    env = make_env(options.env)
    model = _policy(options, env)
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


def _policy(options: argparse.Namespace, env: gym.Env[Any, Any]) -> Any:
    from llm_wrappers.sb3.models import load_model, load_normalizer, normalize_with

    if options.policy is None:
        return None
    model = load_model(options.policy)
    if options.vec_normalize is not None:
        normalize_with(load_normalizer(options.vec_normalize), model, env)
    return model


def _history(
    model: Any, env: gym.Env[Any, Any], options: argparse.Namespace
) -> Sequence[Trajectory]:
    """Return as many episodes as asked for; those that are missing in the folder are played."""
    folder, wanted = options.history, options.episodes
    there = open_trajectories(folder) if folder is not None and folder.is_dir() else None
    recorded = TrajectoryFiles(there.paths[:wanted] if there is not None else ())
    policy = options.policy
    digest = None if policy is None else hashlib.sha256(policy.read_bytes()).hexdigest()
    for path, trajectory in zip(recorded.paths, recorded, strict=True):
        _check(path, trajectory, env, digest, options.env)
    missing = wanted - len(recorded)
    if there is not None and len(recorded):
        plays = f"{missing} more are played" if missing and model else "none are played"
        print(f"{len(recorded)} of {len(there)} episodes in {folder} are used; {plays}\n")
    if model is None and not len(recorded):
        raise InvalidOptionError("give --policy, or a --history that has episodes")
    if model is None or not missing:
        return recorded
    from llm_wrappers.sb3 import record_trajectories

    played = record_trajectories(
        model, env, episodes=missing, seed=options.seed + len(recorded), folder=folder,
        metadata={_POLICY: digest}, progress_bar=True,
    )  # fmt: skip
    if not len(recorded):
        return played
    return TrajectoryFiles(open_trajectories(folder).paths[:wanted])


def _check(
    path: Path, trajectory: Trajectory, env: gym.Env[Any, Any], digest: str | None, env_id: str
) -> None:
    from llm_wrappers.trajectories.trajectory import map_leaves

    played_in = trajectory.metadata.get("env_id") or env_id
    first = map_leaves(trajectory.observations, lambda leaf: leaf[0])
    if played_in != env_id:
        raise IncompatibleEnvironmentError(
            f"expected episodes of {env_id}, {path} is of {played_in}: name another --history"
        )
    if not env.observation_space.contains(first):
        raise IncompatibleEnvironmentError(
            f"expected episodes with observations of {env.observation_space}, {path} has others: "
            "name another --history"
        )
    played_by = trajectory.metadata.get(_POLICY)
    if None not in (played_by, digest) and played_by != digest:
        raise InvalidOptionError(
            f"expected episodes of the --policy, {path} was played by another one: name another "
            "--history, or leave --policy out to use what is there"
        )
