"""Training one arm with one seed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from llm_wrappers.demo.arms import ARMS, Arm
from llm_wrappers.demo.blank_encoder import BlankEncoder
from llm_wrappers.demo.facts_observation import FactsObservation
from llm_wrappers.demo.goal_history import GoalHistoryCallback
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.guidance import resolve_planner
from llm_wrappers.guidance.resolve import REFERENCES
from llm_wrappers.methods import sgrl
from llm_wrappers.sb3 import (
    EpisodeLogCallback,
    GridExtractor,
    GuidanceCallback,
    MaskDistillationCallback,
    ProgressBarCallback,
    ReweighingCallback,
    SoftMaskCallback,
    SoftMaskPolicy,
    as_vec_env,
)
from llm_wrappers.worlds import ENV_IDS

__all__ = ["PPO_OPTIONS", "RunResult", "make_envs", "train_arm"]

PPO_OPTIONS: dict[str, Any] = {
    "n_steps": 32,
    "batch_size": 128,
    "n_epochs": 4,
    "learning_rate": 6e-4,
    "gamma": 0.97,
    "gae_lambda": 0.8,
    "ent_coef": 0.01,
}
"""What every arm trains with; our choice, the hyper-parameters of SGRL are not published."""

_HIDDEN_UNITS = [128, 128]
_PICTURES = "llm_wrappers/Crafter-v1"
_FILES = ("stats.jsonl", "goals.json", "guidance.json", "reweighing.json", "model.zip")


@dataclass(frozen=True)
class RunResult:
    """What training one arm with one seed left behind.

    Args:
        arm: The name of the arm.
        seed: The seed.
        folder: Where `stats.jsonl`, `goals.json`, `guidance.json` and `model.zip` are.
        steps: The environment steps done.
        seconds: The wall time of training, compilation left out.
        interrupted: Whether it was stopped before its end.
    """

    arm: str
    seed: int
    folder: Path
    steps: int
    seconds: float
    interrupted: bool


def make_envs(env_id: str, arm: Arm, num_envs: int) -> gym.vector.VectorEnv[Any, Any, Any]:
    """Return the vector environment of one arm.

    Args:
        env_id: One of `llm_wrappers.worlds.ENV_IDS`.
        arm: The arm.
        num_envs: The number of sub-environments.

    Raises:
        UnknownNameError: If the environment is not one of them.
    """
    if env_id not in ENV_IDS:
        raise UnknownNameError(f"env must be one of {sorted(ENV_IDS)}, got {env_id!r}")
    native = gym.spec(env_id).vector_entry_point is not None
    in_same_step = {} if native else {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
    envs = gym.make_vec(env_id, num_envs=num_envs, vector_kwargs=in_same_step)
    if arm.wrap is None:
        return FactsObservation(envs, _facts_read(env_id)) if arm.facts_shown else envs
    options = {**arm.wrap, "encoder": BlankEncoder()} if arm.goal_hidden else arm.wrap
    wrapped: gym.vector.VectorEnv[Any, Any, Any] = sgrl.wrap(envs, **options)
    return wrapped


def _facts_read(env_id: str) -> tuple[str, ...]:
    planner = resolve_planner(f"reference:{REFERENCES[env_id]}", env_id=env_id, goals=())
    reads: tuple[str, ...] = planner.reads  # type: ignore[attr-defined]  # ours all say it
    return reads


def train_arm(
    name: str,
    *,
    env_id: str,
    seed: int,
    steps: int,
    num_envs: int,
    folder: Path,
    progress_bar: bool = True,
) -> RunResult:
    """Train one arm; what was done is on disk at any moment, also after Ctrl-C.

    Args:
        name: A key of `ARMS`.
        env_id: One of `llm_wrappers.worlds.ENV_IDS`.
        seed: Of the worlds, the wrappers and the network.
        steps: Environment steps, over all sub-environments.
        num_envs: The number of sub-environments.
        folder: Where to write; results of an earlier run there are removed.
        progress_bar: Whether to show one.

    Raises:
        UnknownNameError: If the arm or the environment is not known.
    """
    if name not in ARMS:
        raise UnknownNameError(f"arms are {sorted(ARMS)}, got {name!r}")
    if steps < 1 or num_envs < 1:
        raise InvalidOptionError(f"steps and num_envs must be >= 1, got {steps} and {num_envs}")
    arm = ARMS[name]
    folder.mkdir(parents=True, exist_ok=True)
    for name_of_file in _FILES:
        (folder / name_of_file).unlink(missing_ok=True)
    _compile(env_id, num_envs)
    vec_env = as_vec_env(make_envs(env_id, arm, num_envs))
    options = _model_options(num_envs, is_picture=env_id == _PICTURES)
    model = _algorithm(arm)(_policy(arm, vec_env), vec_env, seed=seed, **options)
    log = EpisodeLogCallback(folder / "stats.jsonl")
    bar = ProgressBarCallback(f"{name}, seed {seed}", log)
    callbacks = [log, *_callbacks(arm, folder), *([bar] if progress_bar else [])]
    started = time.perf_counter()
    try:
        interrupted = _learn(model, steps, callbacks)
        seconds = time.perf_counter() - started
        if arm.wrap is not None:
            (stats,) = vec_env.env_method("all_stats", indices=[0])  # of all sub-environments
            (folder / "guidance.json").write_text(json.dumps(stats), encoding="utf-8")
    finally:
        bar.close()
        log.close()
        vec_env.close()
    model.save(folder / "model.zip")
    return RunResult(name, seed, folder, model.num_timesteps, seconds, interrupted)


def _learn(model: Any, steps: int, callbacks: list[BaseCallback]) -> bool:
    """Train, and return whether Ctrl-C ended it early."""
    try:
        model.learn(steps, callback=callbacks)
    except KeyboardInterrupt:
        return True
    return False


def _compile(env_id: str, num_envs: int) -> None:
    """Take one step, so that compiling is not counted as training; later runs find it done."""
    envs = make_envs(env_id, ARMS["ppo"], num_envs)
    envs.reset(seed=0)
    envs.step(np.zeros(num_envs, dtype=np.int64))
    envs.close()


def _algorithm(arm: Arm) -> Callable[..., Any]:
    if not arm.masked:
        return PPO
    from sb3_contrib import MaskablePPO

    return MaskablePPO


def _policy(arm: Arm, vec_env: Any) -> Any:
    if arm.soft is not None:
        return SoftMaskPolicy
    if isinstance(vec_env.observation_space, gym.spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if len(vec_env.observation_space.shape) == 3 else "MlpPolicy"


def _model_options(num_envs: int, *, is_picture: bool) -> dict[str, Any]:
    # With few sub-environments a rollout can be smaller than a batch, or no multiple of it.
    rollout, largest = PPO_OPTIONS["n_steps"] * num_envs, PPO_OPTIONS["batch_size"]
    batch_size = max(size for size in range(1, largest + 1) if rollout % size == 0)
    network: dict[str, Any] = {"net_arch": _HIDDEN_UNITS}
    if not is_picture:
        network["features_extractor_class"] = GridExtractor
    return {**PPO_OPTIONS, "batch_size": batch_size, "policy_kwargs": network, "device": "cpu"}


def _callbacks(arm: Arm, folder: Path) -> list[BaseCallback]:
    callbacks: list[BaseCallback] = []
    if arm.wrap is not None:
        callbacks += [GuidanceCallback(), GoalHistoryCallback(folder / "goals.json")]
    if arm.distil:
        callbacks.append(MaskDistillationCallback())
    if arm.soft is not None:
        callbacks.append(SoftMaskCallback(arm.soft))
    if arm.reweigh_every is not None:
        path = folder / "reweighing.json"
        callbacks.append(ReweighingCallback(every=arm.reweigh_every, path=path))
    return callbacks
