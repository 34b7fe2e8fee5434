"""Suggesters that ask no language model: a planner's goals, and baselines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llm_wrappers import checks
from llm_wrappers.errors import GuidanceError, InvalidOptionError
from llm_wrappers.guidance.plan import weighted_goals
from llm_wrappers.guidance.planner import Planner
from llm_wrappers.guidance.states import States

__all__ = ["FixedSuggester", "PlannerSuggester", "UniformSuggester"]


class FixedSuggester:
    """The same goals in every state.

    With the whole vocabulary it is ELLM's baseline that pays for anything new.

    Args:
        goals: The goals; may be empty.

    Raises:
        InvalidOptionError: If a goal is no text or is empty.

    >>> FixedSuggester(["eat cow"]).suggest(States([{}], lambda facts: [""]))
    [('eat cow',)]
    """

    pure = True
    reads: tuple[str, ...] = ()

    def __init__(self, goals: Sequence[str]) -> None:
        if isinstance(goals, str) or not all(isinstance(g, str) and g.strip() for g in goals):
            raise InvalidOptionError(f"goals must be a list of non-empty strings, got {goals!r}")
        self.goals = tuple(goals)

    def suggest(self, states: States) -> list[tuple[str, ...]]:
        """Return the goals for each state."""
        return [self.goals] * len(states)


class PlannerSuggester:
    """A planner's goals without their weights, in its order.

    Args:
        planner: The planner; goals of weight 0 are left out.

    >>> from llm_wrappers.guidance import FunctionPlanner
    >>> planner = FunctionPlanner(lambda facts: [[("eat cow", 2.0), ("sleep", 0.0)]])
    >>> PlannerSuggester(planner).suggest(States([{}], lambda facts: [""]))
    [['eat cow']]
    """

    def __init__(self, planner: Planner) -> None:
        self.planner = planner
        self.pure = bool(getattr(planner, "pure", False))
        self.reads: tuple[str, ...] | None = getattr(planner, "reads", None)

    def suggest(self, states: States) -> list[Any]:
        """Return the goals of each state, or the error that a runtime gave in their place."""
        return [_goals_of(answer) for answer in self.planner.plan(states.facts)]


class UniformSuggester:
    """Goals drawn uniformly from the vocabulary, fixed for each state: ELLM's uniform baseline.

    Args:
        goals: The vocabulary.
        number: How many goals are drawn, without repeats; None for 5, or all if there are fewer
            (our choice).
        seed: Another seed draws others.

    Raises:
        InvalidOptionError: If there are not that many goals.

    >>> suggester = UniformSuggester(["a", "b", "c"], number=2)
    >>> state = States([{"x": 1}], lambda facts: [""])
    >>> len(suggester.suggest(state)[0]), suggester.suggest(state) == suggester.suggest(state)
    (2, True)
    """

    pure = True

    def __init__(self, goals: Sequence[str], *, number: int | None = None, seed: int = 0) -> None:
        self.goals = tuple(goals)
        self.number = min(5, len(self.goals)) if number is None else number
        if not checks.is_whole(self.number) or not 1 <= self.number <= len(self.goals):
            raise InvalidOptionError(
                f"number must be from 1 to the {len(self.goals)} goals of the vocabulary, "
                f"got {self.number!r}"
            )
        self.seed = seed

    def suggest(self, states: States) -> list[list[str]]:
        """Return the goals drawn for each state."""
        return [self._drawn(row) for row in states.facts]

    def _drawn(self, facts: Mapping[str, Any]) -> list[str]:
        # Not hash(): it differs between processes.
        state = json.dumps([self.seed, dict(facts)], sort_keys=True, default=str).encode()
        seed = int.from_bytes(hashlib.sha256(state).digest()[:8], "big")
        chosen = np.random.default_rng(seed).choice(len(self.goals), self.number, replace=False)
        return [self.goals[index] for index in chosen.tolist()]


def _goals_of(answer: Any) -> Any:
    if answer is None or isinstance(answer, GuidanceError):
        return answer
    return [text for text, weight in weighted_goals(answer) if weight > 0]
