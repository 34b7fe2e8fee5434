"""Loading a saved model without being told its algorithm."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sb3_contrib
import stable_baselines3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.vec_env import VecNormalize

from llm_wrappers.errors import GuidanceFileError

__all__ = ["load_model", "load_normalizer"]

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
