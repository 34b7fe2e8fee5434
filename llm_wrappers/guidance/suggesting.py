"""Asking a suggester: remembered where it may be, checked always, never fatal."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import (
    CacheMissError,
    GuidanceError,
    GuidanceWarning,
    InvalidOptionError,
    UserError,
)
from llm_wrappers.guidance.remembering import Remembering
from llm_wrappers.guidance.suggester import States, Suggester

__all__ = [
    "MOST_CHARACTERS",
    "MOST_GOALS",
    "Suggested",
    "Suggesting",
    "facts_keys",
    "facts_row",
    "is_for_the_user",
]

MOST_GOALS = 100
"""The goals kept of one state; our choice."""
MOST_CHARACTERS = 1_000
"""The length of a goal from which it is dropped; our choice."""

_MOST_REMEMBERED = 100_000


class Suggested(NamedTuple):
    """The goals of one state, checked.

    Args:
        goals: Non-empty texts without repeats, in the suggester's order.
        dropped: How many could not be used.
        failed: Whether the suggester failed.
        unanswered: Whether there was no answer yet.
    """

    goals: tuple[str, ...]
    dropped: int = 0
    failed: bool = False
    unanswered: bool = False


_FAILED = Suggested((), failed=True)
_UNANSWERED = Suggested((), unanswered=True)


class Suggesting:
    """A suggester behind checks, memory and counters; batch first.

    A pure suggester is asked once per distinct key of the facts it reads. Where a suggester fails
    there are no goals; it is counted and warned of once. What the user has to mend (a key, a
    model) is raised, unless the suggester has worked before.

    Args:
        suggester: The suggester.
        caption: From facts to one state caption each.
    """

    def __init__(
        self,
        suggester: Suggester,
        *,
        caption: Callable[[Sequence[Mapping[str, Any]]], Sequence[str]],
    ) -> None:
        self.suggester = suggester
        self._caption = caption
        self._reads: tuple[str, ...] | None = getattr(suggester, "reads", None)
        self._pure = bool(getattr(suggester, "pure", False))
        self._of_all = not self._pure and hasattr(suggester, "reset")
        self._remembered: Remembering[Suggested] = Remembering(_MOST_REMEMBERED)
        self._worked = False
        self._warned = False
        self.states_asked = 0
        self.counts = dict.fromkeys(
            ("states", "suggestions", "unanswered", "suggester_failures", "dropped_goals"), 0
        )

    def goals(
        self, facts: Sequence[Mapping[str, Any]], rows: Sequence[int]
    ) -> list[tuple[str, ...]]:
        """Return the goals of some of n states.

        Args:
            facts: The facts of all n sub-environments.
            rows: Which of them are wanted.
        """
        if self._pure:
            found = self._recalled(facts, rows)
        elif self._of_all:
            every = self._ask(facts, range(len(facts))) if len(rows) else []
            found = [every[row] for row in rows]
        else:
            found = self._ask(facts, rows)
        self._count(found)
        return [suggested.goals for suggested in found]

    def reset(self, fresh: NDArray[np.bool_]) -> None:
        """Tell a suggester that wants to know where episodes begin, shape (n,)."""
        begin = getattr(self.suggester, "reset", None)
        if begin is None:
            return
        try:
            begin(fresh.copy())
        except Exception as error:
            self._meet(error)
            self.counts["suggester_failures"] += 1

    def stats(self) -> dict[str, Any]:
        """Return the counters, with those of the suggester where it has some."""
        own = {**self.counts, "states_asked": self.states_asked}
        theirs = getattr(self.suggester, "stats", None)
        return own if theirs is None else {**own, "suggester": theirs()}

    def _count(self, found: Sequence[Suggested]) -> None:
        counts = self.counts
        counts["states"] += len(found)
        for suggested in found:
            counts["suggestions"] += len(suggested.goals)
            if suggested.dropped:
                counts["dropped_goals"] += suggested.dropped
            if suggested.failed:
                counts["suggester_failures"] += 1
            if suggested.unanswered:
                counts["unanswered"] += 1

    def _recalled(self, facts: Sequence[Mapping[str, Any]], rows: Sequence[int]) -> list[Suggested]:
        every = facts_keys(facts, self._reads)
        keys = every if len(rows) == len(every) else [every[row] for row in rows]

        def ask(places: list[int]) -> list[Suggested]:
            return self._ask(facts, [rows[place] for place in places])

        # What failed, or has no answer yet, is asked again.
        return self._remembered.answers(
            keys, ask, keep=lambda answer: not (answer.failed or answer.unanswered)
        )

    def _ask(self, facts: Sequence[Mapping[str, Any]], rows: Sequence[int]) -> list[Suggested]:
        if not len(rows):
            return []
        self.states_asked += len(rows)
        given = [facts_row(facts, row, self._reads) for row in rows]
        states = States(given, lambda _: self._caption([facts[row] for row in rows]))
        try:
            answers = list(self.suggester.suggest(states))
            if len(answers) != len(rows):
                raise GuidanceError(f"expected {len(rows)} lists of goals, got {len(answers)}")
        except Exception as error:
            if len(rows) == 1 or self._of_all:
                self._meet(error)
                return [_FAILED] * len(rows)
            # One bad state must not take the goals away from the others.
            self.states_asked -= len(rows)
            return [suggested for row in rows for suggested in self._ask(facts, [row])]
        self._worked = True
        return [self._checked(answer) for answer in answers]

    def _checked(self, answer: Any) -> Suggested:
        if answer is None:
            return _UNANSWERED
        try:
            return _checked_goals(answer)
        except Exception as error:
            self._meet(error)
            return _FAILED

    def _meet(self, error: Exception) -> None:
        if is_for_the_user(error, worked=self._worked):
            raise error
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the suggester failed ({type(error).__name__}: {error}); states like this one "
                "have no goals and are counted in stats(); said once",
                GuidanceWarning,
                stacklevel=2,
            )


def facts_keys(
    facts: Sequence[Mapping[str, Any]], reads: tuple[str, ...] | None
) -> Sequence[Hashable]:
    """Return one key per state, equal where the facts that are read are equal.

    Args:
        facts: The facts of n states, a `FactsTable` or any sequence of mappings.
        reads: The names of the facts that matter; None for all.

    Raises:
        InvalidOptionError: If a name is not a fact.

    >>> facts_keys([{"x": 1, "y": 2}, {"x": 1, "y": 3}], ("x",))
    [(1,), (1,)]
    """
    make_keys = getattr(facts, "keys", None)
    if make_keys is not None:
        keys: Sequence[Hashable] = make_keys(reads)
        return keys
    if reads is None:
        return [tuple(sorted(row.items())) for row in facts]
    try:
        return [tuple(row[name] for name in reads) for row in facts]
    except KeyError as error:
        raise _no_such_fact(error, facts[0]) from None


def facts_row(
    facts: Sequence[Mapping[str, Any]], index: int, reads: tuple[str, ...] | None
) -> Mapping[str, Any]:
    """Return what somebody may read of one state, and cannot change.

    Args:
        facts: The facts of n states, a `FactsTable` or any sequence of mappings.
        index: Which state.
        reads: The names of the facts that matter; None for all.

    Raises:
        InvalidOptionError: If a name is not a fact.
    """
    row = facts[index]
    if reads is None:
        return MappingProxyType(row) if isinstance(row, dict) else row
    decoded = getattr(facts, "decoded", None)
    if decoded is not None:
        some: dict[str, Any] = decoded(index, reads)
        return some
    try:
        return {name: row[name] for name in reads}
    except KeyError as error:
        raise _no_such_fact(error, row) from None


def is_for_the_user(error: Exception, *, worked: bool) -> bool:
    """Return whether an error of guidance is raised instead of counted.

    That is so where the user got something wrong and the guidance has never worked, and always
    where a recorded answer is missing, because a replay promises to reproduce.
    """
    return isinstance(error, CacheMissError) or (not worked and isinstance(error, UserError))


def _no_such_fact(error: KeyError, facts: Mapping[str, Any]) -> InvalidOptionError:
    return InvalidOptionError(f"the fact {error} is read; this environment has {sorted(facts)}")


def _checked_goals(answer: Any) -> Suggested:
    if isinstance(answer, GuidanceError):
        raise answer
    if isinstance(answer, str | bytes | Mapping) or not isinstance(answer, Sequence):
        raise GuidanceError(f"expected a list of goals per state, got a {type(answer).__name__}")
    usable = [goal for goal in answer if _is_usable(goal)]
    goals = tuple(dict.fromkeys(usable))
    return Suggested(
        goals[:MOST_GOALS], len(answer) - len(usable) + max(len(goals) - MOST_GOALS, 0)
    )


def _is_usable(goal: Any) -> bool:
    return type(goal) is str and 0 < len(goal) <= MOST_CHARACTERS and not goal.isspace()
