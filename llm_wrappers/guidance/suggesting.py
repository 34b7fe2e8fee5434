"""Asking a suggester: which goals, in free text, are worth reaching from each of n states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from llm_wrappers.errors import GuidanceError
from llm_wrappers.guidance.consult import Consult, Words
from llm_wrappers.guidance.states import States
from llm_wrappers.guidance.suggester import Suggester

__all__ = [
    "MOST_CHARACTERS",
    "MOST_GOALS",
    "Suggested",
    "Suggesting",
]

MOST_GOALS = 100
"""The goals kept of one state; our choice."""
MOST_CHARACTERS = 1_000
"""The length of a goal from which it is dropped; our choice."""

_WORDS = Words(
    who="suggester",
    answers="lists of goals",
    meanwhile="states like this one have no goals",
    asked="states_asked",
    failed="suggester_failures",
    unanswered="unanswered",
)


class Suggested(NamedTuple):
    """The goals of one state, checked.

    Args:
        goals: Non-empty texts without repeats, in the suggester's order.
        dropped: How many could not be used.
    """

    goals: tuple[str, ...]
    dropped: int = 0


class Suggesting(Consult[Suggested]):
    """A suggester that is consulted; batch first.

    Where the suggester fails, or has no answer yet, there are no goals, and it is asked again. One
    that wants to know where episodes begin, and is not pure, is always asked about all states.

    Args:
        suggester: The suggester.
        caption: From facts to one state caption each.

    >>> from llm_wrappers.guidance.suggester import FunctionSuggester
    >>> suggester = FunctionSuggester(lambda states: [["eat cow", ""] for _ in states.facts])
    >>> suggesting = Suggesting(suggester, caption=lambda facts: ["a state"] * len(facts))
    >>> suggesting.goals([{"hungry": True}], rows=[0])
    [('eat cow',)]
    """

    def __init__(
        self,
        suggester: Suggester,
        *,
        caption: Callable[[Sequence[Mapping[str, Any]]], Sequence[str]],
    ) -> None:
        self.suggester = suggester
        super().__init__(
            suggester,
            words=_WORDS,
            counters=("states", "suggestions", "dropped_goals"),
            stand_in=Suggested(()),
            caption=caption,
            together=hasattr(suggester, "reset"),
        )

    @property
    def states_asked(self) -> int:
        """How many states the suggester was asked about."""
        return self.counts["states_asked"]

    def goals(
        self, facts: Sequence[Mapping[str, Any]], rows: Sequence[int]
    ) -> list[tuple[str, ...]]:
        """Return the goals of some of n states.

        Args:
            facts: The facts of all n sub-environments.
            rows: Which of them are wanted.
        """
        found = self._answers(facts, rows)
        goals = [suggested.goals for suggested in found]
        counts = self.counts
        counts["states"] += len(goals)
        counts["suggestions"] += sum(map(len, goals))
        for suggested in found:
            if suggested.dropped:
                counts["dropped_goals"] += suggested.dropped
        return goals

    def _ask(self, states: States, actions: Sequence[Any]) -> Sequence[Any]:
        return self.suggester.suggest(states)

    def _check(self, answer: Any) -> Suggested | None:
        return None if answer is None else _checked_goals(answer)


def _checked_goals(answer: Any) -> Suggested:
    if isinstance(answer, str | bytes | Mapping) or not isinstance(answer, Sequence):
        raise GuidanceError(f"expected a list of goals per state, got a {type(answer).__name__}")
    usable = [goal for goal in answer if _is_usable(goal)]
    goals = tuple(dict.fromkeys(usable))
    return Suggested(
        goals[:MOST_GOALS], len(answer) - len(usable) + max(len(goals) - MOST_GOALS, 0)
    )


def _is_usable(goal: Any) -> bool:
    return type(goal) is str and 0 < len(goal) <= MOST_CHARACTERS and not goal.isspace()
