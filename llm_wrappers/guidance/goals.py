"""Goals with weights, a planner's answer checked, and which goal is chosen of it (SGRL)."""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from types import GeneratorType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.errors import GuidanceError, InvalidOptionError
from llm_wrappers.sandbox.answers import a_type

__all__ = [
    "DEFAULT_ALIASES",
    "HIGHEST_FACTOR",
    "LOWEST_FACTOR",
    "NO_GOAL",
    "RESELECT",
    "SELECTIONS",
    "Aliases",
    "Goal",
    "GoalSelector",
    "Plan",
    "bounded_factor",
    "checked_factors",
    "checked_plan",
    "resolve_aliases",
    "weighted_goals",
]


@dataclass(frozen=True)
class Goal:
    """A short text with a priority weight.

    Args:
        text: One of the goal vocabulary, such as ``"collect wood"``.
        weight: Finite and >= 0; goals are chosen in proportion to it, or the largest wins.

    Raises:
        InvalidOptionError: If the text is empty or the weight is negative or not finite.

    >>> Goal("collect wood", 2.0)
    Goal(text='collect wood', weight=2.0)
    """

    text: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        checks.text("a goal's text", self.text)
        if isinstance(self.weight, bool) or not checks.is_weight(self.weight):
            raise InvalidOptionError(
                f"the weight of goal {self.text!r} must be finite and >= 0, got {self.weight!r}"
            )


# Of any planner; contained code is held to fewer, in `sandbox/answers.py`.
_MOST_GOALS = 10_000
_MOST_SHOWN = 8
_MOST_CHARACTERS = 60
# Each by its exact type: what a subclass does nobody knows.
_NUMBERS = (float, int, bool, *{np.dtype(code).type for code in "?bhilqBHILQefdg"})
_ONCE = (GeneratorType, map, zip, filter)


@dataclass(frozen=True)
class Plan:
    """The goals of one state, as indices into the vocabulary, with their weights.

    Args:
        goals: Indices of the goals with a positive weight.
        weights: Their weights, all positive; empty only where no guidance is wanted.
        unknown: How many goals outside the vocabulary were dropped.
        failed: Whether this stands in for an answer that could not be used.
    """

    goals: tuple[int, ...]
    weights: tuple[float, ...]
    unknown: int = 0
    failed: bool = False
    best: int = field(init=False)
    cumulative: tuple[float, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cumulative", tuple(accumulate(self.weights)))
        object.__setattr__(
            self, "best", self.goals[self.weights.index(max(self.weights))] if self.goals else -1
        )

    def draw(self, uniform: float) -> int:
        """Return a goal with probability in proportion to its weight.

        Args:
            uniform: A uniform random number in [0, 1).

        >>> Plan(goals=(3, 7), weights=(1.0, 3.0)).draw(0.5)
        7
        """
        position = bisect_right(self.cumulative, uniform * self.cumulative[-1])
        # A product rounded up to the total would point past the last goal.
        return self.goals[min(position, len(self.goals) - 1)]

    def scaled(self, factors: Sequence[float]) -> Plan:
        """Return the plan with each weight multiplied by the factor of its goal.

        What stands in for a failed answer stays as it is.

        Args:
            factors: One for each goal of the vocabulary, finite and > 0.

        >>> Plan(goals=(0, 2), weights=(3.0, 2.0)).scaled([0.5, 1.0, 1.0]).best
        2
        """
        if self.failed or not self.goals:
            return self
        own = [factors[goal] for goal in self.goals]
        weights = [weight * factor for weight, factor in zip(self.weights, own, strict=True)]
        if not 0.0 < sum(weights) < math.inf:
            # Only ratios matter, and with the largest factor as the unit they fit into floats.
            largest = max(own)
            weights = [w * (f / largest) for w, f in zip(self.weights, own, strict=True)]
        positive = tuple(max(weight, sys.float_info.min) for weight in weights)
        return Plan(self.goals, positive, self.unknown)


def checked_plan(answer: Any, vocabulary: Mapping[str, int], *, may_be_empty: bool = False) -> Plan:
    """Return one state's answer of a planner as a plan.

    Goals outside the vocabulary are dropped and counted. Nothing of the answer is printed that is
    not a built-in text or number, and none of its own methods is called, because a value that
    nobody has checked can hang there.

    Args:
        answer: A list, tuple or array of `Goal` or (text, weight), or a dict of text -> weight.
            Weights are numbers, NumPy's included; True and False are 1 and 0.
        vocabulary: Goal text to index.
        may_be_empty: Whether no goal at all is an answer and not a failure.

    Raises:
        GuidanceError: If it is none of these, a weight is negative or not finite, or no known goal
            has a positive weight.

    >>> goals = {"go left": 0, "go right": 1}
    >>> checked_plan({"go left": np.float32(0.5), "go right": True}, goals).weights
    (0.5, 1.0)
    >>> checked_plan("go left", goals)
    Traceback (most recent call last):
        ...
    llm_wrappers.errors.GuidanceError: expected a list of (goal, weight) per state, got one text:
    write [(text, 1.0)]
    """
    pairs = weighted_goals(answer)
    weights: dict[int, float] = {}
    unknown: list[str] = []
    for text, weight in pairs:
        index = vocabulary.get(text)
        if index is None:
            unknown.append(text)
        elif weight > 0:
            weights[index] = weights.get(index, 0.0) + weight
    if not weights and not (may_be_empty and not pairs):
        raise GuidanceError(_no_goal(unknown, vocabulary))
    plan = Plan(tuple(weights), tuple(weights.values()), len(unknown))
    if math.inf in plan.cumulative:
        raise GuidanceError("expected weights with a finite sum")
    return plan


def weighted_goals(answer: Any) -> list[tuple[str, float]]:
    """Return one state's answer of a planner as (text, weight) pairs, whatever form it has.

    Args:
        answer: What `checked_plan` takes.

    Raises:
        GuidanceError: If it is none of these, or a weight is negative or not finite.

    >>> weighted_goals([Goal("eat cow"), ("wake up", 2)])
    [('eat cow', 1.0), ('wake up', 2.0)]
    """
    kind = type(answer)
    entries = list(dict.items(answer)) if issubclass(kind, dict) else _listed(answer)
    if entries is None:
        raise GuidanceError(
            f"expected a list of (goal, weight) per state, got {_described(answer)}"
        )
    if len(entries) > _MOST_GOALS:
        raise GuidanceError(f"expected at most {_MOST_GOALS:,} goals, got {len(entries):,}")
    return [_text_and_weight(entry) for entry in entries]


def _listed(value: Any) -> list[Any] | None:
    """Return what is in a list, a tuple or an array, None for anything else."""
    kind = type(value)
    if kind is list:
        return value  # type: ignore[no-any-return]
    if issubclass(kind, list):
        return list(list.__iter__(value))
    if issubclass(kind, tuple):
        return list(tuple.__iter__(value))
    if kind is np.ndarray and value.ndim:
        listed: list[Any] = value.tolist()
        # An array of texts and numbers has turned the numbers into texts.
        return [_parsed(row) for row in listed] if value.dtype.kind == "U" else listed
    return None


def _parsed(row: Any) -> Any:
    try:
        text, weight = row
        return text, float(weight)
    except ValueError:
        return row


def _described(answer: Any) -> str:
    kind = type(answer)
    if issubclass(kind, str):
        return "one text: write [(text, 1.0)]"
    if kind is Goal:
        return "one Goal: write [goal]"
    if any(kind is once for once in _ONCE):
        return f"{a_type(answer)}: write list(...)"
    return a_type(answer)


def _text_and_weight(entry: Any) -> tuple[str, float]:
    if type(entry) is tuple and len(entry) == 2:
        text, weight = entry
        # What nearly all planners answer, at each step; all else takes the longer way.
        plain = type(text) is str and (type(weight) is float or type(weight) is int)
        if plain and 0 <= weight <= sys.float_info.max:
            return text, float(weight)
    if type(entry) is Goal:
        return _text(entry.text), _weight(entry.weight)
    pair = entry if type(entry) is tuple else _listed(entry)
    if pair is None or len(pair) != 2:
        raise GuidanceError("expected (goal, weight) pairs")
    return _text(pair[0]), _weight(pair[1])


def _text(text: Any) -> str:
    if type(text) is str:
        return text
    if type(text) is np.str_:
        return str(text)
    raise GuidanceError(f"expected a goal's text, got {a_type(text)}")


def _weight(weight: Any) -> float:
    kind = type(weight)
    if kind is not float and not any(kind is known for known in _NUMBERS):
        raise GuidanceError(f"expected weights that are numbers, got {a_type(weight)}")
    try:
        number = float(weight)
    except OverflowError:
        number = math.inf
    if not checks.is_weight(number):
        raise GuidanceError(f"expected weights that are finite and >= 0, got {number:.6g}")
    return number


def _no_goal(unknown: Sequence[str], vocabulary: Mapping[str, int]) -> str:
    if not unknown:
        return "no goal of the vocabulary has a positive weight"
    known, more = list(vocabulary)[:_MOST_SHOWN], len(vocabulary) - _MOST_SHOWN
    shown = unknown[0][:_MOST_CHARACTERS]
    rest = f" and {more} more" if more > 0 else ""
    return (
        f"no goal of the vocabulary has a positive weight: expected goals spelled as in {known}"
        f"{rest}, got {shown!r}"
    )


LOWEST_FACTOR, HIGHEST_FACTOR = 0.1, 10.0
"""The range in which re-weighers stay (our choice); set by hand, a factor may lie outside."""


def checked_factors(factors: Mapping[str, float], goals: Collection[str]) -> list[float]:
    """Return one factor for each goal, 1.0 where none is given.

    Args:
        factors: Goal -> factor, finite and > 0.
        goals: The goal vocabulary.

    Raises:
        InvalidOptionError: If a goal is unknown, or a factor is not finite and > 0.

    >>> checked_factors({"eat cow": 2}, ["collect wood", "eat cow"])
    [1.0, 2.0]
    """
    if not isinstance(factors, Mapping):
        raise InvalidOptionError(f"expected factors as goal -> factor, got {factors!r}")
    unknown = [goal for goal in factors if goal not in goals]
    if unknown:
        raise InvalidOptionError(
            f"expected factors of goals of the vocabulary {list(goals)}, got {unknown}"
        )
    for goal, factor in factors.items():
        if isinstance(factor, bool) or not checks.is_weight(factor) or factor == 0:
            raise InvalidOptionError(
                f"the factor of goal {goal!r} must be finite and > 0, got {factor!r}"
            )
    return [float(factors.get(goal, 1.0)) for goal in goals]


def bounded_factor(factor: float) -> float:
    """Return the nearest factor that a re-weigher may give.

    >>> bounded_factor(0.0), bounded_factor(2.0), bounded_factor(99.0)
    (0.1, 2.0, 10.0)
    """
    return min(max(float(factor), LOWEST_FACTOR), HIGHEST_FACTOR)


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


SELECTIONS = ("sample", "argmax")
RESELECT = ("on_change", "every_step")
NO_GOAL = -1


class GoalSelector:
    """The goals that n sub-environments pursue.

    The paper of SGRL (arXiv 2509.22008) says that goals are sampled by their weights, but not
    how often nor how exactly; both options are our choice.

    Args:
        n: The number of sub-environments.
        selection: ``"sample"`` draws goal i with probability w_i / sum(w); ``"argmax"`` takes the
            largest weight, the first of equal ones.
        reselect: ``"on_change"`` keeps a goal for as long as the plan contains it;
            ``"every_step"`` chooses anew at each step.

    Raises:
        InvalidOptionError: If an option is not one of these.
    """

    def __init__(self, n: int, *, selection: str, reselect: str) -> None:
        checks.one_of("selection", selection, SELECTIONS)
        checks.one_of("reselect", reselect, RESELECT)
        self._sample = selection == "sample"
        self._keep = reselect == "on_change"
        self.goals = np.full(n, NO_GOAL, dtype=np.int64)
        self.guided = np.zeros(n, dtype=np.bool_)

    def select(
        self,
        plans: Sequence[Plan],
        generators: Sequence[np.random.Generator],
        fresh: NDArray[np.bool_],
        rows: NDArray[np.intp] | None = None,
    ) -> NDArray[np.int64]:
        """Choose the goals for the current states.

        Args:
            plans: One plan per state, m of them.
            generators: Their m random generators, used only to draw.
            fresh: Where an episode has just begun, shape (m,); the goal of the one before is
                forgotten.
            rows: Which m of the n sub-environments these are; None for all.

        Returns:
            Indices into the vocabulary, shape (m,); `NO_GOAL` where the plan is empty.
        """
        here = slice(None) if rows is None else rows
        before = self.goals[here].tolist()
        if np.count_nonzero(fresh):
            before = np.where(fresh, NO_GOAL, before).tolist()
        chosen = [
            self._choose(plan, goal, generator)
            for plan, goal, generator in zip(plans, before, generators, strict=True)
        ]
        goals = np.array(chosen, dtype=np.int64)
        self.goals[here] = goals
        self.guided[here] = [bool(plan.goals) and not plan.failed for plan in plans]
        return goals

    def _choose(self, plan: Plan, goal: int, generator: np.random.Generator) -> int:
        if self._keep and goal in plan.goals:
            return goal
        if self._sample and len(plan.goals) > 1:
            return plan.draw(generator.random())
        return plan.best
