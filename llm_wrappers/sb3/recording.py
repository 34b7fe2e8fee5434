"""Recording what a trained policy does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from tqdm import tqdm

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.sb3.models import check_spaces
from llm_wrappers.sb3.vec_env import as_vec_env
from llm_wrappers.trajectories.trajectory import Trajectory
from llm_wrappers.wrappers import TrajectoryRecorder, vector

__all__ = ["record_trajectories"]


def record_trajectories(
    model: BaseAlgorithm,
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
    *,
    episodes: int,
    seed: int | None = None,
    deterministic: bool = False,
    folder: str | Path | None = None,
    captions: bool = True,
    captioner: Captioner | None = None,
    metadata: Mapping[str, Any] | None = None,
    progress_bar: bool = False,
) -> Sequence[Trajectory]:
    """Play episodes with a trained model and return them.

    This is the history that ULTRA (arXiv 2505.20671) begins with; how many episodes it takes is
    not said there. With a vector environment the first `episodes` that begin are returned, in the
    order in which they end, so that short ones are not preferred. Nothing is trained. A model that
    was trained behind `VecNormalize` sees observations normalised as in training, and those that
    are recorded are as the environment gives them. A `MaskablePPO` is given the action masks, and a
    policy with a memory (`RecurrentPPO`) keeps it for as long as an episode lasts.

    Args:
        model: An algorithm of Stable-Baselines3 or sb3-contrib.
        env: A Gymnasium environment or vector environment, wrapped as the model needs it. It is
            reset, and neither closed nor changed.
        episodes: How many to record.
        seed: Makes the run repeatable: seeds the environment, and the sampling of actions by a
            policy that draws with torch. The global torch generator is put back afterwards.
        deterministic: Whether the most likely action is taken instead of a sampled one.
        folder: Where to save, one file per episode, as soon as it ends; None keeps them in memory.
        captions: Whether facts and captions are recorded.
        captioner: Who makes them; None for the environment's own.
        metadata: Anything that JSON can hold; goes into each trajectory.
        progress_bar: Whether to show one, in episodes.

    Returns:
        The episodes of this call; from a folder they are read when they are looked at.

    Raises:
        InvalidOptionError: If an option is outside what is documented, or `env` is a `VecEnv`.
        IncompatibleEnvironmentError: If a space cannot be recorded, not be bridged to SB3, or is
            not that of the model.
        GuidanceFileError: If an episode cannot be saved.

    >>> from stable_baselines3 import PPO
    >>> model = PPO("MlpPolicy", "CartPole-v1", device="cpu")
    >>> found = record_trajectories(model, gym.make("CartPole-v1"), episodes=2, seed=0)
    >>> [trajectory.terminated for trajectory in found]
    [True, True]
    """
    checks.whole("episodes", episodes, least=1)
    options: dict[str, Any] = {
        "folder": folder, "captions": captions, "captioner": captioner, "max_episodes": episodes,
        "metadata": metadata,
    }  # fmt: skip
    recorder, vec_env = _recorded(env, options)
    check_spaces(model, vec_env)
    if isinstance(model, MaskablePPO) and not is_masking_supported(vec_env):
        raise IncompatibleEnvironmentError(
            "expected an environment with action_masks(), which a MaskablePPO needs, got "
            f"{env}: wrap it as it was in training"
        )
    with (
        _torch_seed(seed),
        tqdm(total=episodes, desc="recording", unit=" episodes", disable=not progress_bar) as bar,
    ):
        _play(model, vec_env, recorder, bar, episodes, seed=seed, deterministic=deterministic)
    recorded: Sequence[Trajectory] = recorder.trajectories()
    return recorded


def _recorded(env: Any, options: dict[str, Any]) -> tuple[Any, VecEnv]:
    if isinstance(env, VectorEnv):
        envs = vector.TrajectoryRecorder(env, **options)
        return envs, as_vec_env(envs)
    if isinstance(env, gym.Env):
        single = TrajectoryRecorder(env, **options)
        return single, DummyVecEnv([lambda: single])
    advice = ": give what it was made from" if isinstance(env, VecEnv) else ""
    raise InvalidOptionError(
        f"expected a gymnasium.Env or gymnasium.vector.VectorEnv, got {type(env).__name__}{advice}"
    )


def _play(
    model: BaseAlgorithm,
    vec_env: VecEnv,
    recorder: Any,
    bar: Any,
    episodes: int,
    *,
    seed: int | None,
    deterministic: bool,
) -> None:
    normalizer = model.get_vec_normalize_env()
    masked = isinstance(model, MaskablePPO)
    if seed is not None:
        vec_env.seed(seed)
    observations: Any = vec_env.reset()
    dones, memory, recorded = np.ones(vec_env.num_envs, dtype=np.bool_), None, 0
    while recorded < episodes:
        seen = observations if normalizer is None else normalizer.normalize_obs(observations)
        masks: dict[str, Any] = {"action_masks": get_action_masks(vec_env)} if masked else {}
        actions, memory = model.predict(
            seen, state=memory, episode_start=dones, deterministic=deterministic, **masks
        )
        observations, _, dones, _ = vec_env.step(actions)
        if dones.any():
            now = recorder.stats()["recorded"]
            bar.update(now - recorded)
            recorded = now


@contextmanager
def _torch_seed(seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
