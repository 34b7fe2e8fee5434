"""What is around a world: layers that change what a captioner speaks of, or can be read through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium import spaces, wrappers
from gymnasium.spaces.utils import unflatten
from gymnasium.vector import (
    SyncVectorEnv,
    VectorActionWrapper,
    VectorEnv,
    VectorObservationWrapper,
    VectorWrapper,
)
from gymnasium.vector.utils import concatenate, create_empty_array
from gymnasium.wrappers import vector as vector_wrappers

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.captions.description import EnvDescription

__all__ = [
    "AnyEnv",
    "Cast",
    "Reader",
    "SeenThrough",
    "Unflatten",
    "actions_of",
    "changed_by",
    "changes_actions",
    "drifts",
    "layers_of",
    "observed_of",
    "reader_of",
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


Reader: TypeAlias = "Callable[[Any], Any]"
"""From a batch of observations of a wrapper to the batch of what it wraps."""

_FLATTEN = (wrappers.FlattenObservation, vector_wrappers.FlattenObservation)
_DTYPE = (wrappers.DtypeObservation, vector_wrappers.DtypeObservation)
_LEAVES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
# What a captioner need not have, and has through this one where it has it.
_OPTIONAL = (
    "action_words", "legal_actions", "no_effect", "prompt_captions", "reads_observations",
    "transition_reads",
)  # fmt: skip


class SeenThrough:
    """Says what another captioner says, of observations that wrappers have put into another form.

    Args:
        captioner: Speaks of the observations below the wrappers.
        readers: What undoes the wrappers, the outermost first.

    >>> from llm_wrappers.worlds.toy_text.blackjack import BlackjackCaptioner
    >>> hand = spaces.Tuple((spaces.Discrete(32), spaces.Discrete(11), spaces.Discrete(2)))
    >>> captioner = SeenThrough(BlackjackCaptioner(), [Unflatten(hand)])
    >>> flat = spaces.flatten(hand, (16, 10, 0))
    >>> captioner.facts(flat[None], {})
    [{'player_sum': 16, 'dealer_card': 10, 'usable_ace': False}]
    """

    def __init__(self, captioner: Captioner, readers: Sequence[Reader]) -> None:
        self.inner = captioner
        self._readers = tuple(readers)
        for name in _OPTIONAL:
            if hasattr(captioner, name):
                setattr(self, name, getattr(captioner, name))

    @property
    def description(self) -> EnvDescription:
        """What never changes about the environment."""
        return self.inner.description

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> Sequence[Facts]:
        """Return the facts of n states."""
        for read in self._readers:
            observations = read(observations)
        return self.inner.facts(observations, infos)

    def state_captions(self, facts: Sequence[Facts]) -> list[str]:
        """Return the captions of n states."""
        return self.inner.state_captions(facts)

    def transition_captions(
        self, before: Sequence[Facts], actions: Sequence[Any], after: Sequence[Facts]
    ) -> list[str]:
        """Return what n actions did."""
        return self.inner.transition_captions(before, actions, after)


@dataclass(frozen=True)
class Unflatten:
    """Undoes `FlattenObservation`.

    Args:
        space: The observation space below it.

    >>> Unflatten(spaces.Discrete(3))(np.array([[0, 1, 0], [0, 0, 1]])).tolist()
    [1, 2]
    """

    space: gym.Space[Any]

    def __call__(self, observations: Any) -> Any:
        """Return n observations of the space, from an array of shape (n, numbers)."""
        rows: list[Any] = [unflatten(self.space, row) for row in np.asarray(observations)]
        batch: Any = create_empty_array(self.space, len(rows))
        return concatenate(self.space, rows, batch)


@dataclass(frozen=True)
class Cast:
    """Undoes `DtypeObservation`.

    Args:
        dtype: That of the observations below it.

    >>> Cast(np.dtype(np.int64))(np.array([1.0, 15.0], np.float32)).tolist()
    [1, 15]
    """

    dtype: np.dtype[Any]

    def __call__(self, observations: Any) -> Any:
        """Return the same numbers in that type."""
        return np.asarray(observations).astype(self.dtype)


def reader_of(layer: AnyEnv, inner: AnyEnv) -> Reader | None:
    """Return what undoes a layer that changes observations; None where that cannot be done."""
    shown, below = observed_of(layer), observed_of(inner)
    if isinstance(layer, _FLATTEN) and _can_be_unflattened(below):
        return Unflatten(below)
    if isinstance(layer, _DTYPE) and _keeps_values(below, np.dtype(shown.dtype)):
        return Cast(np.dtype(below.dtype))
    return None


def _can_be_unflattened(space: gym.Space[Any]) -> bool:
    if isinstance(space, spaces.Dict):
        return all(map(_can_be_unflattened, space.spaces.values()))
    if isinstance(space, spaces.Tuple):
        return all(map(_can_be_unflattened, space.spaces))
    return isinstance(space, _LEAVES)


def _keeps_values(space: gym.Space[Any], dtype: np.dtype[Any]) -> bool:
    # Gymnasium refuses a type that cannot hold all choices.
    if isinstance(space, spaces.Discrete) and dtype.kind in "iu":
        return True
    # float32 holds seven digits, more than are spoken, and all whole numbers up to 16 million.
    floats = dtype.kind == "f" and dtype.itemsize >= 4
    return floats or np.can_cast(np.dtype(space.dtype), dtype)
