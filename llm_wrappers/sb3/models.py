"""Trained models: loaded from files, lent another environment for a while, or only asked."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import sb3_contrib
import stable_baselines3
import torch as th
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from llm_wrappers.errors import (
    GuidanceFileError,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.sb3.vec_env import as_vec_env
from llm_wrappers.trajectories.trajectory import leaves, map_leaves

__all__ = [
    "FrozenModel",
    "check_spaces",
    "load_model",
    "load_normalizer",
    "normalize_with",
    "random_action",
    "training_env",
]

# Which algorithm has the policies of a module: TD3 also plays what DDPG has saved.
_BY_POLICY = {
    "sb3_contrib.common.maskable.policies": "MaskablePPO",
    "sb3_contrib.common.recurrent.policies": "RecurrentPPO",
    "sb3_contrib.ars.policies": "ARS",
    "sb3_contrib.crossq.policies": "CrossQ",
    "sb3_contrib.qrdqn.policies": "QRDQN",
    "sb3_contrib.tqc.policies": "TQC",
    "stable_baselines3.dqn.policies": "DQN",
    "stable_baselines3.sac.policies": "SAC",
    "stable_baselines3.td3.policies": "TD3",
}
_ACTOR_CRITIC = "stable_baselines3.common.policies"
_BATCH = 1024


# --- files ---


def load_model(path: str | Path, *, device: str = "cpu") -> BaseAlgorithm:
    """Return the model of a zip file of Stable-Baselines3 or sb3-contrib, whatever its algorithm.

    Loading runs code in the file, as always with such files: take only those that you trust.

    Args:
        path: The file.
        device: Where the model is.

    Raises:
        GuidanceFileError: If it cannot be read, or is of none of their algorithms.
    """
    if not Path(path).is_file():
        raise GuidanceFileError(f"expected the zip file of a model, there is none at {path}")
    try:
        data, _, _ = load_from_zip_file(path, device=device)
        algorithm = _algorithm(data or {})
        return algorithm.load(path, device=device)
    except Exception as error:  # torch, zip and pickle raise many kinds for other files
        raise GuidanceFileError(
            f"expected a model saved by Stable-Baselines3 or sb3-contrib, got {path}: {error}; "
            "load it yourself and give the object"
        ) from error


def load_normalizer(path: str | Path) -> VecNormalize:
    """Return the statistics that `VecNormalize.save` wrote; only from files that you trust.

    Raises:
        GuidanceFileError: If the file cannot be read, or holds something else.
    """
    try:
        with open(path, "rb") as file:
            found = pickle.load(file)
    except Exception as error:  # pickle raises many kinds for other files
        raise GuidanceFileError(
            f"expected a file written by VecNormalize.save, got {path}: {error}"
        ) from error
    if not isinstance(found, VecNormalize):
        raise GuidanceFileError(
            f"expected a file written by VecNormalize.save, got {path}, which holds a "
            f"{type(found).__name__}"
        )
    return found


def _algorithm(data: Mapping[str, Any]) -> type[BaseAlgorithm]:
    policy = data.get("policy_class")
    if not isinstance(policy, type):
        raise ValueError("it does not tell its policy class")
    modules = [base.__module__ for base in policy.__mro__]
    name = next((_BY_POLICY[module] for module in modules if module in _BY_POLICY), None)
    if name is None and _ACTOR_CRITIC in modules:
        name = _on_policy(data)
    if name is None:
        raise ValueError(f"no algorithm has the policy {policy.__module__}.{policy.__name__}")
    packages = (stable_baselines3, sb3_contrib)
    found: type[BaseAlgorithm] = next(
        getattr(package, name) for package in packages if hasattr(package, name)
    )
    return found


def _on_policy(data: Mapping[str, Any]) -> str | None:
    """Return which of the algorithms with the same policies has such options."""
    if "clip_range" in data:
        return "PPO"
    if "cg_max_steps" in data:
        return "TRPO"
    return "A2C" if "gae_lambda" in data else None


# --- environments ---


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


# --- asking ---


class FrozenModel:
    """Asks a model for its actions, and never trains it.

    Args:
        model: An algorithm of Stable-Baselines3 or sb3-contrib, without memory.
        normalizer: What observations are normalised with; None for that of the model's own
            environment, if it has one.

    Raises:
        InvalidOptionError: If it is no model.
        IncompatibleEnvironmentError: If its policy has a memory; in use, if observations are not of
            its space.
    """

    def __init__(self, model: BaseAlgorithm, *, normalizer: VecNormalize | None = None) -> None:
        if not isinstance(model, BaseAlgorithm):
            raise InvalidOptionError(
                "expected a model of Stable-Baselines3 or sb3-contrib, got a "
                f"{type(model).__name__}; give model=..."
            )
        if hasattr(model.policy, "lstm_actor"):
            raise IncompatibleEnvironmentError(
                "expected a policy without memory, got a recurrent one, which cannot be asked "
                "about single states; use another algorithm"
            )
        self.model = model
        self.normalizer = model.get_vec_normalize_env() if normalizer is None else normalizer

    def normalized(self, observations: Any) -> Any:
        """Return observations as the policy sees them."""
        return (
            observations if self.normalizer is None else self.normalizer.normalize_obs(observations)
        )

    def actions(
        self, observations: Any, *, deterministic: bool = True, masks: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return the policy's action for one observation or n."""
        options: dict[str, Any] = {} if masks is None else {"action_masks": masks}
        try:
            actions, _ = self.model.predict(
                self.normalized(observations), deterministic=deterministic, **options
            )
        except (ValueError, KeyError, AssertionError) as error:
            raise self._misfit(error) from error
        return np.asarray(actions)

    def action(
        self, observation: Any, *, deterministic: bool = True, masks: NDArray[Any] | None = None
    ) -> Any:
        """Return the policy's action for one observation, as an environment takes it."""
        # An array without dimensions becomes a number, which some environments insist on.
        return self.actions(observation, deterministic=deterministic, masks=masks)[()]

    def scores(
        self, policy: Any, observations: Any, score: Callable[[Any], th.Tensor]
    ) -> NDArray[np.float64]:
        """Return a number for each of n observations, shape (n,), computed in batches.

        The policy, of this model or of one with the same observations, makes tensors of them.
        """
        policy.set_training_mode(False)
        parts = []
        for first in range(0, len(next(leaves(observations))), _BATCH):
            batch = map_leaves(observations, itemgetter(slice(first, first + _BATCH)))
            try:
                seen, _ = policy.obs_to_tensor(self.normalized(batch))
            except (ValueError, KeyError, AssertionError) as error:
                raise self._misfit(error) from error
            with th.no_grad():
                parts.append(score(seen).reshape(-1).cpu().numpy().astype(np.float64))
        return np.concatenate(parts) if parts else np.zeros(0)

    def masks(self, env: gym.Env[Any, Any]) -> NDArray[np.bool_] | None:
        """Return the action mask of an environment, None if the model takes none."""
        if not isinstance(self.model, MaskablePPO):
            return None
        return np.asarray(get_action_masks(env), dtype=np.bool_)

    def _misfit(self, error: Exception) -> IncompatibleEnvironmentError:
        return IncompatibleEnvironmentError(
            f"expected observations of {self.model.observation_space}, as the model was trained "
            f"with: {error}; record the episodes below the same wrappers"
        )


def random_action(space: gym.Space[Any], masks: NDArray[np.bool_] | None) -> Any:
    """Return a random action of a space, of those that a mask leaves open.

    Raises:
        IncompatibleEnvironmentError: If there is a mask, and the space is neither Discrete nor
            MultiDiscrete.
    """
    if masks is None:
        return space.sample()
    flags = masks.astype(np.int8)
    if isinstance(space, gym.spaces.Discrete):
        return space.sample(mask=flags)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return space.sample(mask=tuple(np.split(flags, np.cumsum(space.nvec)[:-1])))
    raise IncompatibleEnvironmentError(
        f"expected masks of a Discrete or MultiDiscrete action space, got {space}; use a model "
        "that takes no masks"
    )
