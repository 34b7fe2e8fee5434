"""Names of suggesters, resolved in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance._registered import registered
from llm_wrappers.guidance.resolve import resolve_planner
from llm_wrappers.guidance.suggester import Suggester, SuggesterFunction, as_suggester
from llm_wrappers.guidance.suggesters import FixedSuggester, PlannerSuggester, UniformSuggester

__all__ = ["ENTRY_POINTS", "Described", "resolve_suggester"]

ENTRY_POINTS = "llm_wrappers.suggesters"
"""The group of entry points with which a package makes a prefix known.

The value is a function ``load(rest, *, description) -> Suggester``, where `rest` is what stands
behind the colon.
"""

_NAMES = "reference:NAME, planner:NAME, oracle, uniform[:K], novelty, fixed:GOAL|GOAL, none"


class Described(Protocol):
    """What a name needs to know of the environment; an `EnvDescription` has it."""

    @property
    def env_id(self) -> str:
        """The Gymnasium id."""
        ...

    @property
    def goals(self) -> tuple[str, ...]:
        """The goal vocabulary."""
        ...


def resolve_suggester(
    suggester: str | Sequence[str] | Suggester | SuggesterFunction, *, description: Described
) -> Suggester:
    """Return the suggester that an object, a function, a list of goals or a name stands for.

    Args:
        suggester: ``"reference:NAME"``, the goals of reference guidance; ``"planner:NAME"``, those
            of any planner that `resolve_planner` knows; ``"oracle"``, every goal that is possible
            and not yet reached; ``"uniform"`` or ``"uniform:K"``, K goals drawn at random for each
            state; ``"novelty"``, the whole vocabulary always; ``"fixed:collect wood|eat cow"``;
            ``"none"``; or the prefix of an installed package, such as ``"llm:MODEL"``.
        description: Of the environment, for the names that depend on it.

    Raises:
        UnknownNameError: If no resolver knows the name.
        InvalidOptionError: If what stands behind the name does not fit, or it is no suggester.
        GuidanceFileError: If a file is missing or is no planner.

    >>> from llm_wrappers.captions import EnvDescription
    >>> toy = EnvDescription(env_id="Toy-v0", rules="", goals=("go left", "go right"))
    >>> resolve_suggester("novelty", description=toy).goals
    ('go left', 'go right')
    """
    if isinstance(suggester, list | tuple):
        return FixedSuggester(suggester)
    if not isinstance(suggester, str):
        return as_suggester(suggester)  # type: ignore[arg-type]
    prefix, colon, rest = suggester.partition(":")
    if suggester == "none":
        return FixedSuggester(())
    if suggester == "novelty":
        return FixedSuggester(_vocabulary(description, suggester))
    if prefix == "fixed" and colon:
        return FixedSuggester([goal.strip() for goal in rest.split("|")])
    if prefix == "uniform":
        return UniformSuggester(_vocabulary(description, suggester), number=_number(rest, colon))
    if suggester == "oracle" or (prefix in ("reference", "planner") and rest):
        name = rest if prefix == "planner" else suggester
        return PlannerSuggester(
            resolve_planner(name, env_id=description.env_id, goals=description.goals)
        )
    return as_suggester(
        registered(ENTRY_POINTS, suggester, known=_NAMES, context={"description": description})
    )


def _vocabulary(description: Described, name: str) -> tuple[str, ...]:
    if not description.goals:
        raise InvalidOptionError(
            f"{name!r} suggests goals of the vocabulary, and {description.env_id!r} describes "
            'none; name them, as in suggester="fixed:go left|go right"'
        )
    return description.goals


def _number(rest: str, colon: str) -> int | None:
    if not colon:
        return None
    if not rest.isdecimal():
        raise InvalidOptionError(f"expected uniform:K with a whole number K, got {rest!r}")
    return int(rest)
