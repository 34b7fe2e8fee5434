"""Goals that are two names of one achievement (ELLM)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from llm_wrappers.errors import InvalidOptionError

__all__ = ["DEFAULT_ALIASES", "Aliases", "resolve_aliases"]

Aliases: TypeAlias = "dict[str, frozenset[str]]"

DEFAULT_ALIASES = (
    ("attack cow", "eat cow"),
    ("make crafting table", "place crafting table"),
)
"""The two pairs of ELLM's official code."""


def resolve_aliases(aliases: Sequence[Sequence[str]] | None) -> Aliases:
    """Return for each goal that has other names all of its names, its own included.

    Args:
        aliases: Groups of goals that count as one; None for `DEFAULT_ALIASES`.

    Raises:
        InvalidOptionError: If it is no list of groups of two or more texts.

    >>> sorted(resolve_aliases(None)["eat cow"])
    ['attack cow', 'eat cow']
    """
    names: Aliases = {}
    for group in _checked(DEFAULT_ALIASES if aliases is None else aliases):
        for goal in group:
            names[goal] = names.get(goal, frozenset()) | frozenset(group)
    return names


def _checked(aliases: Any) -> Sequence[Sequence[str]]:
    well_formed = isinstance(aliases, list | tuple) and all(
        isinstance(group, list | tuple)
        and len(group) > 1
        and all(isinstance(goal, str) and goal for goal in group)
        for group in aliases
    )
    if not well_formed:
        raise InvalidOptionError(
            'aliases must be a list of groups, such as [["attack cow", "eat cow"]], '
            f"[] for none or None for the usual ones, got {aliases!r}"
        )
    groups: Sequence[Sequence[str]] = aliases
    return groups
