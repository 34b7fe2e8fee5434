"""Lending a trained model another environment for a while."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.sb3.vec_env import as_vec_env

__all__ = ["check_spaces", "normalize_with", "training_env"]


@contextmanager
def training_env(
    model: BaseAlgorithm, env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any]
) -> Iterator[VecEnv]:
    """Give a model an environment to train in, and its own back at the end, or none if it had none.

    Behind `VecNormalize` its statistics are used, and go on.

    Raises:
        IncompatibleEnvironmentError: If the number of sub-environments is another one, or a space.
    """
    own, normalizer = model.get_env(), model.get_vec_normalize_env()
    venv: VecEnv = as_vec_env(env) if isinstance(env, VectorEnv) else DummyVecEnv([lambda: env])
    if venv.num_envs != model.n_envs:
        raise IncompatibleEnvironmentError(
            f"the model was trained in {model.n_envs} environments at once, got {venv.num_envs}: "
            "give a gymnasium.vector environment of as many, or load the model with an environment "
            "of this many"
        )
    venv = check_spaces(model, venv)
    model.set_env(venv)
    try:
        yield venv
    finally:
        if own is not None:
            model.set_env(own)
        else:
            # Left in place, it would go on giving advice in whatever is done with the model next.
            model.env, model._vec_normalize_env = None, normalizer


def check_spaces(model: BaseAlgorithm, venv: VecEnv) -> VecEnv:
    """Return an environment as a model sees it, behind its `VecNormalize` if it has one.

    Raises:
        IncompatibleEnvironmentError: If the model was trained with other spaces.
    """
    normalizer = model.get_vec_normalize_env()
    try:
        if normalizer is not None:
            # A copy has the same statistics, the very objects, and no environment.
            normalized = copy.copy(normalizer)
            normalized.set_venv(venv)
            venv = normalized
        check_for_correct_spaces(model._wrap_env(venv), model.observation_space, model.action_space)
    except (AssertionError, ValueError) as error:
        raise IncompatibleEnvironmentError(
            f"expected an environment with the spaces that the model was trained with, "
            f"{model.observation_space} and {model.action_space}, got {venv.observation_space} and "
            f"{venv.action_space}: their spaces do not match; wrap the environment as it was in "
            "training, or take another model"
        ) from error
    return venv


def normalize_with(normalizer: VecNormalize, model: BaseAlgorithm, env: gym.Env[Any, Any]) -> None:
    """Give a model that was loaded without an environment the statistics it was trained with.

    Raises:
        IncompatibleEnvironmentError: If they are of other observations.
    """
    normalizer.training = False
    try:
        normalizer.set_venv(DummyVecEnv([lambda: env]))
    except (AssertionError, ValueError) as error:
        raise IncompatibleEnvironmentError(
            f"expected statistics of observations of {env.observation_space}, got those of others: "
            f"{error}; give the file that was saved with the model"
        ) from error
    model._vec_normalize_env = normalizer
