"""Names of suggesters, resolved in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.resolve import resolve_planner
from llm_wrappers.guidance.suggester import FunctionSuggester, Suggester, SuggesterFunction
from llm_wrappers.guidance.suggesters import FixedSuggester, PlannerSuggester, UniformSuggester
from llm_wrappers.registry import Registry, whole_in

__all__ = ["ENTRY_POINTS", "Described", "resolve_suggester"]

ENTRY_POINTS = "llm_wrappers.suggesters"
"""The group of entry points with which a package makes a prefix known.

The value is a function ``load(rest, *, description) -> Suggester``, where `rest` is what stands
behind the colon.
"""


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
    return _SUGGESTERS.resolve(suggester, description=description)


def _planned(planner: str, description: Described) -> Suggester:
    return PlannerSuggester(
        resolve_planner(planner, env_id=description.env_id, goals=description.goals)
    )


def _uniform(rest: str, description: Described) -> Suggester:
    number = whole_in("uniform:K", rest) if rest else None
    return UniformSuggester(_vocabulary(description, "uniform"), number=number)


def _vocabulary(description: Described, name: str) -> tuple[str, ...]:
    if not description.goals:
        raise InvalidOptionError(
            f"{name!r} suggests goals of the vocabulary, and {description.env_id!r} describes "
            'none; name them, as in suggester="fixed:go left|go right"'
        )
    return description.goals


_SUGGESTERS: Registry[Suggester] = Registry(
    "suggester",
    Suggester,
    "an object with suggest(states), a function of the states that returns a list of goals for "
    'each, a list of goals, or a name such as "fixed:collect wood|eat cow"',
    adapt=FunctionSuggester,
    names={
        "reference:NAME": lambda rest, description: _planned(f"reference:{rest}", description),
        "planner:NAME": _planned,
        "oracle": lambda _, description: _planned("oracle", description),
        "uniform[:K]": _uniform,
        "novelty": lambda _, description: FixedSuggester(_vocabulary(description, "novelty")),
        "fixed:GOAL|GOAL": lambda rest, description: FixedSuggester(
            [goal.strip() for goal in rest.split("|")]
        ),
        "none": lambda _, description: FixedSuggester(()),
    },
    group=ENTRY_POINTS,
)
