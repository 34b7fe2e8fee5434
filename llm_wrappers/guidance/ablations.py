"""Guidance that knows nothing, for ablations: same plumbing, one switch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llm_wrappers.errors import GuidanceError, UnknownNameError
from llm_wrappers.guidance.goals import Goal, weighted_goals
from llm_wrappers.guidance.planners import Planner
from llm_wrappers.guidance.stable_random import state_generator

__all__ = [
    "EqualPlanner",
    "NoPlanner",
    "RandomPlanner",
    "ShuffledPlanner",
    "SinglePlanner",
    "random_masks",
    "shuffled_masks",
]


class NoPlanner:
    """No goals at all: the goal channel is zero and nothing is masked."""

    pure = True
    reads: tuple[str, ...] = ()
    may_be_empty = True

    def plan(self, facts: Sequence[Mapping[str, Any]]) -> list[list[Goal]]:
        """Return no goal for each state."""
        return [[] for _ in facts]


class SinglePlanner:
    """The same goal in every state: what is left of SGRL when its goals do not change.

    Args:
        goals: The vocabulary.
        goal: The goal; None for the last one of the vocabulary, because vocabularies are listed
            from what comes first to what comes last.

    Raises:
        UnknownNameError: If the goal is not in the vocabulary.

    >>> SinglePlanner(["take key", "open door"]).plan([{"key": False}, {"key": True}])
    [[Goal(text='open door', weight=1.0)], [Goal(text='open door', weight=1.0)]]
    """

    pure = True
    reads: tuple[str, ...] = ()

    def __init__(self, goals: Sequence[str], goal: str | None = None) -> None:
        if goal is not None and goal not in goals:
            raise UnknownNameError(
                f"the single goal must be one of the vocabulary {list(goals)}, got {goal!r}"
            )
        self.goal = goals[-1] if goal is None else goal

    def plan(self, facts: Sequence[Mapping[str, Any]]) -> list[list[Goal]]:
        """Return the goal for each state."""
        return [[Goal(self.goal, 1.0)] for _ in facts]


class RandomPlanner:
    """Every goal of the vocabulary, with weights that are random but fixed for each state.

    Args:
        goals: The vocabulary.
        seed: Another seed gives other weights.

    >>> RandomPlanner(["a", "b"]).plan([{"x": 1}]) == RandomPlanner(["a", "b"]).plan([{"x": 1}])
    True
    """

    pure = True

    def __init__(self, goals: Sequence[str], *, seed: int = 0) -> None:
        self.goals = tuple(goals)
        self.seed = seed

    def plan(self, facts: Sequence[Mapping[str, Any]]) -> list[list[Goal]]:
        """Return all goals with random weights."""
        return [self._weighted(row) for row in facts]

    def _weighted(self, facts: Mapping[str, Any]) -> list[Goal]:
        weights = state_generator(self.seed, facts).random(len(self.goals)) + 1e-6
        return [Goal(goal, float(w)) for goal, w in zip(self.goals, weights, strict=True)]


class _ChangedPlanner(ABC):
    """Another planner whose goals or weights are changed, and as pure as that one."""

    def __init__(self, planner: Planner) -> None:
        self.planner = planner
        self.pure = bool(getattr(planner, "pure", False))
        self.reads = getattr(planner, "reads", None)
        self.may_be_empty = bool(getattr(planner, "may_be_empty", False))

    def plan(self, facts: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return the other planner's answer as it is changed; what failed stays as it is."""
        return [
            goals if isinstance(goals, GuidanceError) else self._changed(weighted_goals(goals))
            for goals in self.planner.plan(facts)
        ]

    @abstractmethod
    def _changed(self, goals: list[tuple[str, float]]) -> list[tuple[str, float]]: ...


class EqualPlanner(_ChangedPlanner):
    """Another planner's goals with equal weights: SGRL's ablation without priorities.

    Args:
        planner: The planner whose weights are levelled.
    """

    def _changed(self, goals: list[tuple[str, float]]) -> list[tuple[str, float]]:
        return [(text, 1.0) for text, weight in goals if weight > 0]


class ShuffledPlanner(_ChangedPlanner):
    """Another planner whose goals are exchanged: right moments and weights, wrong goals.

    Args:
        planner: The planner whose goals are exchanged.
        goals: The vocabulary.
        seed: Another seed exchanges them otherwise.
    """

    def __init__(self, planner: Planner, goals: Sequence[str], *, seed: int = 0) -> None:
        super().__init__(planner)
        self.exchange = _derangement(goals, seed)

    def _changed(self, goals: list[tuple[str, float]]) -> list[tuple[str, float]]:
        return [(self.exchange.get(text, text), weight) for text, weight in goals]


def random_masks(
    goals: Sequence[str], actions: Sequence[str | int], *, seed: int = 0
) -> dict[str, list[str | int]]:
    """Return for each goal a random half of the actions, at least one."""
    generator = np.random.default_rng(seed)
    masks: dict[str, list[str | int]] = {}
    for goal in goals:
        chosen = generator.random(len(actions)) < 0.5
        chosen[generator.integers(len(actions))] = True
        masks[goal] = [action for action, open_ in zip(actions, chosen, strict=True) if open_]
    return masks


def shuffled_masks(
    masks: Mapping[str, list[str | int]], *, seed: int = 0
) -> dict[str, list[str | int]]:
    """Return a mask bank in which each goal has the actions of another goal."""
    exchange = _derangement(tuple(masks), seed)
    return {goal: masks[exchange[goal]] for goal in masks}


def _derangement(goals: Sequence[str], seed: int) -> dict[str, str]:
    """Return a random exchange that leaves no goal in its place, if there are two or more."""
    order = np.random.default_rng(seed).permutation(len(goals))
    return {goals[a]: goals[b] for a, b in zip(order, np.roll(order, 1), strict=True)}
