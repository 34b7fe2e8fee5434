"""A planner's answer, checked once and ready to choose from."""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from llm_wrappers.errors import GuidanceError
from llm_wrappers.guidance.goal import Goal, is_weight

__all__ = ["Plan", "checked_plan"]

_MOST_GOALS = 10_000


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

    Goals outside the vocabulary are dropped and counted. Nothing of the answer is printed,
    because printing a value that nobody has checked can itself hang.

    Args:
        answer: A sequence of `Goal` or (text, weight).
        vocabulary: Goal text to index.
        may_be_empty: Whether no goal at all is an answer and not a failure.

    Raises:
        GuidanceError: If it is not such a sequence, a weight is negative or not finite, or no
            known goal has a positive weight.
    """
    if not isinstance(answer, list | tuple) or len(answer) > _MOST_GOALS:
        raise GuidanceError("expected a list of (goal, weight) per state")
    weights: dict[int, float] = {}
    unknown = 0
    for entry in answer:
        text, weight = _text_and_weight(entry)
        index = vocabulary.get(text)
        if index is None:
            unknown += 1
        elif weight > 0:
            weights[index] = weights.get(index, 0.0) + weight
    if not weights and not (may_be_empty and not answer):
        raise GuidanceError("no goal of the vocabulary has a positive weight")
    plan = Plan(tuple(weights), tuple(weights.values()), unknown)
    if math.inf in plan.cumulative:
        raise GuidanceError("expected weights with a finite sum")
    return plan


def _text_and_weight(entry: Any) -> tuple[str, float]:
    if isinstance(entry, Goal):
        return entry.text, float(entry.weight)
    if not isinstance(entry, Sequence) or isinstance(entry, str) or len(entry) != 2:
        raise GuidanceError("expected (goal, weight) pairs")
    text, weight = entry
    if type(text) is not str:
        raise GuidanceError(f"expected a goal's text, got a {type(text).__name__}")
    if type(weight) not in (int, float) or not is_weight(weight):
        raise GuidanceError("expected weights that are int or float, finite and >= 0")
    return text, float(weight)
