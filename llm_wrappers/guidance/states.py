"""States that guidance is asked about, and what tells them and actions apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from llm_wrappers.errors import InvalidOptionError

__all__ = ["States", "action_key", "facts_keys", "facts_row", "no_such_fact"]

_MOST_NAMES = 12


class States:
    """The current states of n sub-environments: facts, and captions made where somebody reads them.

    Args:
        facts: One mapping per sub-environment.
        caption: From facts to one state caption each.

    >>> states = States([{"near_tree": 1}], lambda facts: ["You see a tree."])
    >>> len(states), states.captions
    (1, ('You see a tree.',))
    """

    def __init__(
        self,
        facts: Sequence[Mapping[str, Any]],
        caption: Callable[[Sequence[Mapping[str, Any]]], Sequence[str]],
    ) -> None:
        self.facts = facts
        self._caption = caption

    def __len__(self) -> int:
        return len(self.facts)

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """One state caption per sub-environment."""
        return tuple(self._caption(self.facts))


def facts_keys(
    facts: Sequence[Mapping[str, Any]],
    reads: tuple[str, ...] | None,
    rows: Sequence[int] | None = None,
) -> Sequence[Hashable]:
    """Return one key per state, equal where the facts that are read are equal.

    Args:
        facts: The facts of n states, a `FactsTable` or any sequence of mappings.
        reads: The names of the facts that matter; None for all.
        rows: Which states are wanted; None for all n.

    Raises:
        InvalidOptionError: If a name is not a fact.

    >>> facts_keys([{"x": 1, "y": 2}, {"x": 1, "y": 3}], ("x",))
    [(1,), (1,)]
    """
    make_keys = getattr(facts, "keys", None)
    if make_keys is not None:
        try:
            keys: Sequence[Hashable] = make_keys(reads)
        except InvalidOptionError:
            raise InvalidOptionError(_which_is_missing(reads, facts)) from None
        return keys if rows is None else list(map(keys.__getitem__, rows))
    some = facts if rows is None else list(map(facts.__getitem__, rows))
    if reads is None:
        return [tuple(sorted(row.items())) for row in some]
    try:
        return [tuple([row[name] for name in reads]) for row in some]
    except KeyError:
        raise InvalidOptionError(_which_is_missing(reads, some)) from None


def facts_row(
    facts: Sequence[Mapping[str, Any]], index: int, reads: tuple[str, ...] | None
) -> Mapping[str, Any]:
    """Return what somebody may read of one state, and cannot change.

    Args:
        facts: The facts of n states, a `FactsTable` or any sequence of mappings.
        index: Which state.
        reads: The names of the facts that matter; None for all.

    Raises:
        InvalidOptionError: If a name is not a fact.
    """
    row = facts[index]
    if reads is None:
        return MappingProxyType(row) if isinstance(row, dict) else row
    try:
        decoded = getattr(facts, "decoded", None)
        if decoded is not None:
            some: dict[str, Any] = decoded(index, reads)
            return some
        return {name: row[name] for name in reads}
    except KeyError:
        raise InvalidOptionError(_which_is_missing(reads, [row])) from None


def action_key(action: Any) -> Hashable:
    """Return what tells an action from others, whatever holds it.

    >>> action_key(np.int64(2)) == action_key(2)
    True
    """
    if type(action) is int:  # Nearly all are such, at each step.
        return action
    if isinstance(action, int | np.integer):
        return int(action)
    if isinstance(action, Mapping):
        return tuple((name, action_key(part)) for name, part in sorted(action.items()))
    if isinstance(action, list | tuple):
        return tuple(map(action_key, action))
    array = np.asarray(action)
    return array.dtype.str, array.shape, array.tobytes()


def no_such_fact(name: str, names: Iterable[str]) -> str:
    """Return the sentence for whoever reads a fact that an environment has not.

    Args:
        name: Of the fact that is read.
        names: Of the facts that there are.

    >>> no_such_fact("wood", ["obs_1", "obs_0"])
    "it reads the fact 'wood', and this environment has ['obs_0', 'obs_1']"
    """
    known = sorted(map(str, names))
    more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
    return f"it reads the fact {name!r}, and this environment has {known[:_MOST_NAMES]}{more}"


def _which_is_missing(reads: tuple[str, ...] | None, facts: Sequence[Mapping[str, Any]]) -> str:
    for row in facts:
        for name in reads or ():
            if name not in row:
                return no_such_fact(name, row)
    return f"the names {reads!r} are not those of facts"
