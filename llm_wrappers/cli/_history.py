"""The episodes that `llm-wrappers write ultra` looks at: recorded before, or played now."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.trajectories.files import TrajectoryFiles, open_trajectories
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["history_of"]

_POLICY = "policy_sha256"


def history_of(
    model: Any, env: gym.Env[Any, Any], options: argparse.Namespace
) -> Sequence[Trajectory]:
    """Return as many episodes as asked for; those that are missing in the folder are played.

    Args:
        model: Plays; None if there is no policy.
        env: Where it plays.
        options: What was given: `episodes`, `history`, `policy`, `seed`, `env`.

    Raises:
        InvalidOptionError: If there is nothing to look at, or another policy played it.
        IncompatibleEnvironmentError: If it was played in another environment.
    """
    folder, wanted = options.history, options.episodes
    there = open_trajectories(folder) if folder is not None and folder.is_dir() else None
    recorded = TrajectoryFiles(there.paths[:wanted] if there is not None else ())
    digest = None if options.policy is None else _digest(options.policy)
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
    played = _play(model, env, missing, options, digest, seed=options.seed + len(recorded))
    if not len(recorded):
        return played
    return TrajectoryFiles(open_trajectories(folder).paths[:wanted])


def _play(
    model: Any,
    env: gym.Env[Any, Any],
    episodes: int,
    options: argparse.Namespace,
    digest: str | None,
    *,
    seed: int,
) -> Sequence[Trajectory]:
    from llm_wrappers.sb3 import record_trajectories

    return record_trajectories(
        model, env, episodes=episodes, seed=seed, folder=options.history,
        metadata={_POLICY: digest}, progress_bar=True,
    )  # fmt: skip


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


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
