"""Training one arm with one seed."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from llm_wrappers.demo.arms import ARMS, Arm, make_envs
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
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

__all__ = ["PPO_OPTIONS", "RunResult", "train_arm"]

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
    algorithm: Any = MaskablePPO if arm.masked else PPO
    model = algorithm(_policy(arm, vec_env), vec_env, seed=seed, **options)
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
        callbacks += [GuidanceCallback(), _GoalHistoryCallback(folder / "goals.json")]
    if arm.distil:
        callbacks.append(MaskDistillationCallback())
    if arm.soft is not None:
        callbacks.append(SoftMaskCallback(arm.soft))
    if arm.reweigh_every is not None:
        path = folder / "reweighing.json"
        callbacks.append(ReweighingCallback(every=arm.reweigh_every, path=path))
    return callbacks


class _GoalHistoryCallback(BaseCallback):
    """Writes to a JSON file how many steps each goal was active, rollout by rollout.

    It holds ``{"env_steps": [...], "goals": {goal: [steps in each rollout]}}``.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._env_steps: list[int] = []
        self._goals: dict[str, list[int]] = {}
        self._before: dict[str, int] = {}

    def _on_rollout_end(self) -> None:
        (stats,) = self.training_env.env_method("all_stats", indices=[0])
        steps = stats["GoalObservationWrapper"]["goal_steps"]
        self._env_steps.append(self.num_timesteps)
        for goal, count in steps.items():
            self._goals.setdefault(goal, []).append(count - self._before.get(goal, 0))
        self._before = dict(steps)
        content = {"env_steps": self._env_steps, "goals": self._goals}
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self._path)  # a crash leaves the file of the rollout before

    def _on_step(self) -> bool:
        return True
