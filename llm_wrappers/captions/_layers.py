"""The layers of an environment, and which of them change what a captioner speaks of."""

from __future__ import annotations

from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium import wrappers
from gymnasium.vector import (
    SyncVectorEnv,
    VectorActionWrapper,
    VectorEnv,
    VectorObservationWrapper,
    VectorWrapper,
)
from gymnasium.wrappers import vector as vector_wrappers

__all__ = [
    "AnyEnv",
    "actions_of",
    "changed_by",
    "changes_actions",
    "drifts",
    "layers_of",
    "observed_of",
]

AnyEnv: TypeAlias = "gym.Env[Any, Any] | VectorEnv[Any, Any, Any]"

_OWN_SPACES = ("_observation_space", "_single_observation_space")
# These pass observations on, as does the `Monitor` of Stable-Baselines3.
_PASSING = (
    gym.RewardWrapper,
    wrappers.Autoreset,
    wrappers.NormalizeReward,
    wrappers.OrderEnforcing,
    wrappers.PassiveEnvChecker,
    wrappers.RecordEpisodeStatistics,
    wrappers.RecordVideo,
    wrappers.TimeLimit,
    SyncVectorEnv,
)
# These change nothing that their space does not show.
_SHOWING = (
    wrappers.DtypeObservation,
    wrappers.FlattenObservation,
    vector_wrappers.DtypeObservation,
    vector_wrappers.FlattenObservation,
)
# These leave no trace in a space of their own. Some are of packages that need not be installed.
_UNSEEN = {"MaxAndSkipEnv", "MaxAndSkipObservation", "TimeFeatureWrapper"}
# With these an action means what it meant, although it is not always executed.
_SAME_ACTIONS = {"StickyAction", "StochasticActionWrapper"}


def layers_of(env: AnyEnv) -> list[AnyEnv]:
    """Return the environment and what it wraps, outside in; of sub-environments the first."""
    layers: list[AnyEnv] = []
    layer: AnyEnv | None = env
    while layer is not None:
        layers.append(layer)
        if isinstance(layer, VectorWrapper | gym.Wrapper):
            layer = layer.env
        else:
            layer = layer.envs[0] if isinstance(layer, SyncVectorEnv) else None
    return layers


def observed_of(layer: AnyEnv) -> gym.Space[Any]:
    """Return the observation space of one sub-environment."""
    if isinstance(layer, gym.Env):
        return layer.observation_space
    return layer.single_observation_space


def actions_of(layer: AnyEnv) -> gym.Space[Any]:
    """Return the action space of one sub-environment."""
    return layer.action_space if isinstance(layer, gym.Env) else layer.single_action_space


def changed_by(layers: list[AnyEnv], at: int) -> AnyEnv | None:
    """Return which wrapper makes the observations of a layer others than those of the one below.

    A space that is equal says little: numbers without bounds can be scaled within it. So a layer
    that has a space of its own, or is made to change observations, counts as one that does.

    Args:
        layers: The layers of an environment, outside in.
        at: The number of one of them, not the last.
    """
    layer, inner = layers[at], layers[at + 1]
    if _passes(layer):
        # Another wrapper may have written into its space, as `TimeFeatureWrapper` does.
        if isinstance(layer, SyncVectorEnv) or observed_of(layer) == observed_of(inner):
            return None
        outer = reversed(layers[:at])
        return next((each for each in outer if not _passes(each)), None)
    if observed_of(layer) != observed_of(inner) or type(layer).__name__ in _UNSEEN:
        return layer
    made_to = isinstance(layer, gym.ObservationWrapper | VectorObservationWrapper)
    has_a_space = any(getattr(layer, name, None) is not None for name in _OWN_SPACES)
    return layer if (made_to or has_a_space) and not isinstance(layer, _SHOWING) else None


def _passes(layer: AnyEnv) -> bool:
    return isinstance(layer, _PASSING) or type(layer).__name__ == "Monitor"


def changes_actions(layer: AnyEnv, inner: AnyEnv) -> bool:
    """Return whether an action of a layer may mean another than that of the one below it."""
    if isinstance(layer, SyncVectorEnv) or type(layer).__name__ in _SAME_ACTIONS:
        return False
    made_to = isinstance(layer, gym.ActionWrapper | VectorActionWrapper)
    return made_to or actions_of(layer) != actions_of(inner)


def drifts(layer: AnyEnv) -> bool:
    """Return whether the same state looks another way later in training."""
    kinds = (wrappers.NormalizeObservation, vector_wrappers.NormalizeObservation)
    return isinstance(layer, kinds)
