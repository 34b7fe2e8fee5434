"""The planner protocol: facts to weighted goals (SGRL)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from llm_wrappers.guidance.goal import Goal

__all__ = ["FunctionPlanner", "Planner", "PlannerFunction"]

WeightedGoals: TypeAlias = "Sequence[Goal | tuple[str, float]] | Mapping[str, float]"
PlannerFunction: TypeAlias = "Callable[[list[dict[str, Any]]], Sequence[WeightedGoals]]"


@runtime_checkable
class Planner(Protocol):
    """Facts to weighted goals, batch first.

    The goals of a state are a list of `Goal` or (text, weight), or a dict of text -> weight; the
    numbers and arrays of NumPy will do.

    A planner may also have these attributes:

    `pure` (bool): its answer depends on the facts alone, so that it may be remembered. Without the
    attribute a planner is asked at every step.

    `reads` (names of facts): the only facts it reads, for a pure planner; it is then given only
    these, and asked only when one of them differs.

    `may_be_empty` (bool): no goal at all is an answer, for a step without guidance, and not a
    failure.
    """

    def plan(self, facts: Sequence[Mapping[str, Any]]) -> Sequence[WeightedGoals]:
        """Return the weighted goals of each of the n states."""
        ...


class FunctionPlanner:
    """A plain function as a planner.

    Args:
        function: Takes a list of n facts dictionaries and returns n lists of (goal, weight), or n
            dicts of goal -> weight.
        pure: Whether the answer depends on the facts alone.

    >>> planner = FunctionPlanner(lambda facts: [[("go left", 1.0)] for _ in facts])
    >>> planner.plan([{}, {}])
    [[('go left', 1.0)], [('go left', 1.0)]]
    """

    def __init__(self, function: PlannerFunction, *, pure: bool = False) -> None:
        self.function = function
        self.pure = pure

    def plan(self, facts: Sequence[Mapping[str, Any]]) -> Sequence[WeightedGoals]:
        """Call the function with fresh dictionaries."""
        return self.function([dict(row) for row in facts])
