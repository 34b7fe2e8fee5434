"""Planners that do what a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from llm_wrappers.errors import InvalidOptionError

__all__ = ["FAILURES", "FailingPlanner", "ScriptedPlanner"]

FactsRow: TypeAlias = "Mapping[str, Any]"


class ScriptedPlanner:
    """A planner with one answer for all states, or a function of one state's facts.

    Args:
        answer: A list of (goal, weight), or a function from the facts of one state to one.
        pure: Whether a wrapper may remember the answers instead of asking again.

    Attributes:
        asked: The facts of every state it was asked about, in order; a copy begins anew.

    >>> planner = ScriptedPlanner(lambda facts: [("go left" if facts["x"] > 0 else "wait", 1.0)])
    >>> planner.plan([{"x": 1}, {"x": 0}])
    [[('go left', 1.0)], [('wait', 1.0)]]
    >>> planner.asked
    [{'x': 1}, {'x': 0}]
    """

    def __init__(
        self, answer: Sequence[Any] | Callable[[FactsRow], Any], *, pure: bool = False
    ) -> None:
        self._answer = answer
        self.pure = pure
        self.asked: list[dict[str, Any]] = []

    def __getstate__(self) -> dict[str, Any]:
        # Wrappers copy their arguments to record them; a copy has been asked nothing yet.
        return {**self.__dict__, "asked": []}

    def plan(self, facts: Sequence[FactsRow]) -> list[Any]:
        """Return the answer for each state."""
        self.asked.extend(dict(row) for row in facts)
        answer = self._answer
        return [answer(row) if callable(answer) else list(answer) for row in facts]


def _raise(answers: list[Any], failing: list[bool]) -> Any:
    raise RuntimeError("the planner was told to fail")


def _replacing(nonsense: Any) -> Callable[[list[Any], list[bool]], Any]:
    return lambda answers, failing: [
        nonsense if fails else answer for answer, fails in zip(answers, failing, strict=True)
    ]


FAILURES: dict[str, Callable[[list[Any], list[bool]], Any]] = {
    "raises": _raise,
    "returns None": lambda answers, failing: None,
    "too many lists": lambda answers, failing: [*answers, []],
    "no list": _replacing(42),
    "no pairs": _replacing([42]),
    "no goals": _replacing([]),
    "text of another type": _replacing([(7, 1.0)]),
    "unknown goal": _replacing([("no such goal", 1.0)]),
    "negative weight": _replacing([("no such goal", -1.0)]),
    "weight is nan": _replacing([("no such goal", float("nan"))]),
}
"""The ways to fail that `FailingPlanner` knows."""


class FailingPlanner:
    """A planner that fails for some states, as code written by a language model may.

    Args:
        answer: What it answers otherwise: a list of (goal, weight) or a function of the facts.
        fails: Tells from the facts of a state whether it fails there; by default everywhere.
        how: One of `llm_wrappers.testing.planners.FAILURES`.

    Raises:
        InvalidOptionError: If `how` is not one of these.

    >>> planner = FailingPlanner([("wait", 1.0)], fails=lambda facts: facts["x"] > 0, how="no list")
    >>> planner.plan([{"x": 1}, {"x": 0}])
    [42, [('wait', 1.0)]]
    """

    def __init__(
        self,
        answer: Sequence[Any] | Callable[[FactsRow], Any],
        *,
        fails: Callable[[FactsRow], bool] | None = None,
        how: str = "raises",
    ) -> None:
        if how not in FAILURES:
            raise InvalidOptionError(f"how must be one of {sorted(FAILURES)}, got {how!r}")
        self._planner = ScriptedPlanner(answer)
        self._fails = fails
        self._how = how

    def plan(self, facts: Sequence[FactsRow]) -> Any:
        """Return the answers, or whatever the failure is."""
        failing = [self._fails is None or bool(self._fails(row)) for row in facts]
        answers = self._planner.plan(facts)
        return FAILURES[self._how](answers, failing) if any(failing) else answers
