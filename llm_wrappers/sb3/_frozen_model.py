"""A trained model that is only asked: observations normalised as it knows them."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.trajectories.trajectory import leaves, map_leaves

__all__ = ["FrozenModel", "random_action"]

_BATCH = 1024


class FrozenModel:
    """Asks a model for its actions, and never trains it.

    Args:
        model: An algorithm of Stable-Baselines3 or sb3-contrib, without memory.
        normalizer: What observations are normalised with; None for that of the model's own
            environment, if it has one.

    Raises:
        InvalidOptionError: If it is no model.
        IncompatibleEnvironmentError: If its policy has a memory.
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
        """Return the policy's action for one observation or n.

        Raises:
            IncompatibleEnvironmentError: If they are not of the model's observation space.
        """
        options: dict[str, Any] = {} if masks is None else {"action_masks": masks}
        try:
            actions, _ = self.model.predict(
                self.normalized(observations), deterministic=deterministic, **options
            )
        except (ValueError, KeyError, AssertionError) as error:
            raise self.misfit(error) from error
        return np.asarray(actions)

    def action(
        self, observation: Any, *, deterministic: bool = True, masks: NDArray[Any] | None = None
    ) -> Any:
        """Return the policy's action for one observation, as an environment takes it.

        Raises:
            IncompatibleEnvironmentError: If it is not of the model's observation space.
        """
        # An array without dimensions becomes a number, which some environments insist on.
        return self.actions(observation, deterministic=deterministic, masks=masks)[()]

    def scores(
        self, policy: Any, observations: Any, score: Callable[[Any], th.Tensor]
    ) -> NDArray[np.float64]:
        """Return a number for each of n observations, shape (n,), computed in batches.

        Args:
            policy: Of this model or of another one with the same observations; turns them into
                tensors.
            observations: Shape (n, ...), nested as the space is, not normalised.
            score: From tensors to one number each.

        Raises:
            IncompatibleEnvironmentError: If they are not of the observation space.
        """
        policy.set_training_mode(False)
        parts = []
        for first in range(0, len(next(leaves(observations))), _BATCH):
            batch = map_leaves(observations, itemgetter(slice(first, first + _BATCH)))
            try:
                seen, _ = policy.obs_to_tensor(self.normalized(batch))
            except (ValueError, KeyError, AssertionError) as error:
                raise self.misfit(error) from error
            with th.no_grad():
                parts.append(score(seen).reshape(-1).cpu().numpy().astype(np.float64))
        return np.concatenate(parts) if parts else np.zeros(0)

    def masks(self, env: gym.Env[Any, Any]) -> NDArray[np.bool_] | None:
        """Return the action mask of an environment, None if the model takes none."""
        if not isinstance(self.model, MaskablePPO):
            return None
        return np.asarray(get_action_masks(env), dtype=np.bool_)

    def misfit(self, error: Exception) -> IncompatibleEnvironmentError:
        """Return what to raise where the model cannot read the observations."""
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
