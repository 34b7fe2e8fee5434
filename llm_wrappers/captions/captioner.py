"""The protocol by which an environment speaks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError

__all__ = ["Captioner", "FactValue", "Facts", "StateByState", "batch_infos"]

FactValue: TypeAlias = "bool | int | float | str | tuple[str, ...] | None"
Facts: TypeAlias = "Mapping[str, FactValue]"

_PLAIN = frozenset({bool, int, float, str})


@runtime_checkable
class Captioner(Protocol):
    """Turns observations into facts, and facts into sentences; batch first.

    Observations are batched along the first axis (a Dict observation is a dict of batched
    arrays). Infos are in the form of `gymnasium.vector`: one dict of arrays, nested dicts allowed.
    A captioner is stateless: what it says is a function of its arguments alone.

    A captioner may also have these:

    `legal_actions(facts)`: booleans of shape (n, actions), True where an action can have an effect,
    or None where that is not known.

    `no_effect` (a set of texts): the transition captions which say that nothing happened.

    `transition_reads` (names of facts): the only facts that transition captions read; they are
    then given only these, and each caption is written once.

    `prompt_captions(facts)`: state captions for a language model, where they differ.

    `reads_observations` (a boolean, True where it is missing): False if facts are made from infos
    alone. Such a captioner is found whatever wrappers made of the observation; another one is
    refused behind a wrapper that changed what it reads.

    `reads_behind(wrapper, observation_space)`: whether it can also read what a wrapper of that
    class name shows, in that space.
    """

    @property
    def description(self) -> EnvDescription:
        """What never changes about the environment."""
        ...

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> Sequence[Facts]:
        """Return the structured state of each of the n sub-environments, as flat mappings."""
        ...

    def state_captions(self, facts: Sequence[Facts]) -> list[str]:
        """Return one or two sentences about each state."""
        ...

    def transition_captions(
        self, before: Sequence[Facts], actions: Sequence[Any], after: Sequence[Facts]
    ) -> list[str]:
        """Return what each action did, such as ``"collect wood"``."""
        ...


class StateByState(ABC):
    """What most captioners share: a description, and captions that are written one by one.

    A subclass sets `_description`, and writes `facts`, `_state` and `_transition`.
    """

    _description: EnvDescription

    @property
    def description(self) -> EnvDescription:
        """What never changes about the environment."""
        return self._description

    def state_captions(self, facts: Sequence[Facts]) -> list[str]:
        """Return what is to be said of each state."""
        return [self._state(row) for row in facts]

    def transition_captions(
        self, before: Sequence[Facts], actions: Sequence[Any], after: Sequence[Facts]
    ) -> list[str]:
        """Return what each action did.

        Args:
            before: The facts of n states.
            actions: The n actions taken there, as the environment takes them.
            after: The facts of the n states that followed.

        Raises:
            InvalidOptionError: If an action is not one of the environment.
        """
        return [
            self._transition(old, action, new)
            for old, action, new in zip(before, actions, after, strict=True)
        ]

    def _action_name(self, action: Any) -> str:
        names = self._description.action_names
        if not 0 <= int(action) < len(names):
            raise InvalidOptionError(f"actions must be 0..{len(names) - 1}, got {action!r}")
        return names[int(action)]

    @abstractmethod
    def _state(self, facts: Facts) -> str: ...

    @abstractmethod
    def _transition(self, before: Facts, action: Any, after: Facts) -> str: ...


def batch_infos(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the info of one environment in the form of `gymnasium.vector`, with n = 1.

    >>> batch_infos({"steps": 3, "inventory": {"wood": 2}})
    {'steps': array([3]), 'inventory': {'wood': array([2])}}
    """
    return {
        key: batch_infos(value) if isinstance(value, Mapping) else _batch_of_one(value)
        for key, value in info.items()
    }


def _batch_of_one(value: Any) -> np.ndarray[Any, Any]:
    # Nearly all values are such, at each step; this is four times as fast.
    if type(value) in _PLAIN:
        return np.array([value])
    if isinstance(value, bool | int | float | str | np.ndarray | np.generic):
        return np.asarray(value)[None]
    batch = np.empty(1, dtype=object)
    batch[0] = value
    return batch
