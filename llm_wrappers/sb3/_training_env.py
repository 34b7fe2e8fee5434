"""Lending a trained model another environment for a while."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.sb3.vec_env import as_vec_env

__all__ = ["training_env"]


@contextmanager
def training_env(
    model: BaseAlgorithm, env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any]
) -> Iterator[VecEnv]:
    """Give a model an environment to train in, and its own back at the end.

    Behind `VecNormalize` its statistics are used, and go on.

    Raises:
        IncompatibleEnvironmentError: If the number of sub-environments is another one.
        ValueError: If a space is another one, as `BaseAlgorithm.set_env` says.
    """
    own, normalizer = model.get_env(), model.get_vec_normalize_env()
    venv: VecEnv = as_vec_env(env) if isinstance(env, VectorEnv) else DummyVecEnv([lambda: env])
    if venv.num_envs != model.n_envs:
        raise IncompatibleEnvironmentError(
            f"the model was trained in {model.n_envs} environments at once, got {venv.num_envs}: "
            "give a gymnasium.vector environment of as many, or load the model with an environment "
            "of this many"
        )
    if normalizer is not None:
        # A copy has the same statistics, the very objects, and no environment.
        normalized = copy.copy(normalizer)
        normalized.set_venv(venv)
        venv = normalized
    model.set_env(venv)
    try:
        yield venv
    finally:
        if own is not None:
            model.set_env(own)
