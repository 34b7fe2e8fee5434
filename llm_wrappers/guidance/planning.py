"""Asking a planner: remembered where it may be, checked always, never fatal."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from llm_wrappers.errors import GuidanceError, GuidanceWarning, InvalidOptionError
from llm_wrappers.guidance.factors import checked_factors
from llm_wrappers.guidance.plan import Plan, checked_plan
from llm_wrappers.guidance.planner import Planner

__all__ = ["Planning"]

_MOST_REMEMBERED = 200_000


class Planning:
    """A planner behind checks, memory and counters; batch first.

    A pure planner is asked once per distinct key of the facts it reads. An answer that raises or
    cannot be used becomes the fallback plan; it is counted and warned of once, and never raised.

    Args:
        planner: The planner; `pure`, `reads` and `may_be_empty` are read from it if present.
        goals: The goal vocabulary.
        fallback: The goal that stands in for an answer that could not be used.
    """

    def __init__(self, planner: Planner, *, goals: Sequence[str], fallback: str) -> None:
        self.planner = planner
        self.vocabulary = {goal: index for index, goal in enumerate(goals)}
        self.fallback = Plan((self.vocabulary[fallback],), (1.0,), failed=True)
        self.reads: tuple[str, ...] | None = getattr(planner, "reads", None)
        self._pure = bool(getattr(planner, "pure", False))
        self._may_be_empty = bool(getattr(planner, "may_be_empty", False))
        self._factors = [1.0] * len(self.vocabulary)
        self._neutral = True
        self._remembered: dict[Hashable, Plan] = {}
        # The remembered plans with the factors; the same object for as long as all of them are 1.
        self._ready = self._remembered
        self._warned = False
        self.counts = {"states": 0, "planned": 0, "failures": 0, "unknown_goals": 0}

    def plans(self, facts: Sequence[Mapping[str, Any]]) -> list[Plan]:
        """Return one plan per state."""
        self.counts["states"] += len(facts)
        plans = self._recalled(facts) if self._pure else self._asked_anew(facts)
        self.counts["failures"] += sum(plan.failed for plan in plans)
        self.counts["unknown_goals"] += sum(plan.unknown for plan in plans)
        return plans

    @property
    def factors(self) -> dict[str, float]:
        """What the weight of each goal is multiplied by."""
        return dict(zip(self.vocabulary, self._factors, strict=True))

    def set_factors(self, factors: Mapping[str, float]) -> None:
        """Multiply the weights of every plan from now on, those remembered too.

        The planner is not asked again: its own answers stay as they are, and each is multiplied
        when it is next needed.

        Args:
            factors: Goal -> factor, finite and > 0; goals that are left out have 1.

        Raises:
            InvalidOptionError: If a goal is unknown, or a factor is not finite and > 0.
        """
        new = checked_factors(factors, self.vocabulary)
        if new == self._factors:
            return
        self._factors = new
        self._neutral = all(factor == 1.0 for factor in new)
        self._ready = self._remembered if self._neutral else {}

    def _asked_anew(self, facts: Sequence[Mapping[str, Any]]) -> list[Plan]:
        plans = self._ask(list(facts))
        return plans if self._neutral else [plan.scaled(self._factors) for plan in plans]

    def _recalled(self, facts: Sequence[Mapping[str, Any]]) -> list[Plan]:
        keys = self._keys(facts)
        missing = {key: index for index, key in enumerate(keys) if key not in self._ready}
        if missing:
            self._remember(facts, keys, missing)
        ready = self._ready
        return [ready[key] for key in keys]

    def _remember(
        self,
        facts: Sequence[Mapping[str, Any]],
        keys: Sequence[Hashable],
        missing: Mapping[Hashable, int],
    ) -> None:
        """Make the missing plans ready; the planner is asked for those that are not known."""
        known = self._remembered
        unknown = {key: index for key, index in missing.items() if key not in known}
        if len(known) + len(unknown) > _MOST_REMEMBERED:
            # Start over with what this batch needs.
            known = self._remembered = {key: known[key] for key in keys if key in known}
            missing = dict.fromkeys(keys, 0)
            self._ready = known if self._neutral else {}
        if unknown:
            rows = [self._row(facts, index) for index in unknown.values()]
            known.update(zip(unknown, self._ask(rows), strict=True))
        if not self._neutral:
            self._ready.update((key, known[key].scaled(self._factors)) for key in missing)

    def _keys(self, facts: Sequence[Mapping[str, Any]]) -> Sequence[Hashable]:
        make_keys = getattr(facts, "keys", None)
        if make_keys is not None:
            keys: Sequence[Hashable] = make_keys(self.reads)
            return keys
        if self.reads is None:
            return [tuple(sorted(row.items())) for row in facts]
        return [tuple(self._read(row).values()) for row in facts]

    def _row(self, facts: Sequence[Mapping[str, Any]], index: int) -> dict[str, Any]:
        decoded = getattr(facts, "decoded", None)
        if decoded is not None:
            row: dict[str, Any] = decoded(index, self.reads)
            return row
        return self._read(facts[index])

    def _read(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        if self.reads is None:
            return dict(facts)
        try:
            return {name: facts[name] for name in self.reads}
        except KeyError as error:
            raise InvalidOptionError(
                f"the planner reads the fact {error}; this environment has {sorted(facts)}"
            ) from None

    def _ask(self, rows: Sequence[Mapping[str, Any]]) -> list[Plan]:
        self.counts["planned"] += len(rows)
        try:
            answers = list(self.planner.plan(rows))
            if len(answers) != len(rows):
                raise ValueError(f"expected {len(rows)} lists of goals, got {len(answers)}")
        except Exception as error:
            if len(rows) == 1:
                return [self._failed(error)]
            # One bad state must not take the guidance away from the others.
            self.counts["planned"] -= len(rows)
            return [plan for row in rows for plan in self._ask([row])]
        return [self._checked(answer) for answer in answers]

    def _checked(self, answer: Any) -> Plan:
        if isinstance(answer, GuidanceError):
            # A runtime says so in place of the answer, so that the other states keep theirs.
            return self._failed(answer)
        try:
            return checked_plan(answer, self.vocabulary, may_be_empty=self._may_be_empty)
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> Plan:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the planner failed ({type(error).__name__}: {error}); steps like this one run "
                "without guidance and are counted in stats(); said once",
                GuidanceWarning,
                stacklevel=2,
            )
        return self.fallback


def checked_vocabulary(goals: Sequence[str]) -> tuple[str, ...]:
    """Return the goal vocabulary, or say what is wrong with it.

    Raises:
        InvalidOptionError: If it is empty, repeats a goal or holds something that is no text.
    """
    if isinstance(goals, str) or not all(isinstance(goal, str) and goal for goal in goals):
        raise InvalidOptionError(f"goals must be a list of non-empty strings, got {goals!r}")
    if not goals:
        raise InvalidOptionError(
            'this environment describes no goals: pass them, as in goals=["go left", "go right"]'
        )
    if len(set(goals)) != len(goals):
        raise InvalidOptionError(f"goals must not repeat, got {list(goals)!r}")
    return tuple(goals)
