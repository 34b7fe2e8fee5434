"""Captions of observations that a wrapper has put into another form without losing anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium import spaces, wrappers
from gymnasium.spaces.utils import unflatten
from gymnasium.vector.utils import concatenate, create_empty_array
from gymnasium.wrappers import vector as vector_wrappers

from llm_wrappers.captions._layers import AnyEnv, observed_of
from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.captions.description import EnvDescription

__all__ = ["Cast", "Reader", "SeenThrough", "Unflatten", "reader_of"]

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
        """Return the facts of n states.

        Args:
            observations: A batch, as the outermost wrapper returns it.
            infos: As the inner captioner reads them.

        Raises:
            ValueError: If the observations are not of that form.
        """
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
    """Return what undoes a layer that changes observations; None where that cannot be done.

    Args:
        layer: A wrapper.
        inner: What it wraps.
    """
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
