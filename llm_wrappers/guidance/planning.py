"""Asking a planner: which goals are worth pursuing in each of n states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.consult import Consult, Words
from llm_wrappers.guidance.factors import checked_factors
from llm_wrappers.guidance.plan import Plan, checked_plan
from llm_wrappers.guidance.planner import Planner
from llm_wrappers.guidance.states import States

__all__ = ["Planning", "checked_vocabulary"]

_WORDS = Words(
    who="planner",
    answers="lists of goals",
    meanwhile="steps like this one run without guidance",
    asked="planned",
    failed="failures",
)


class Planning(Consult[Plan]):
    """A planner that is consulted; batch first.

    An answer that raises or cannot be used becomes the fallback plan, also in later states that
    are equal: code that fails would fail again.

    Args:
        planner: The planner; `pure`, `reads` and `may_be_empty` are read from it if present.
        goals: The goal vocabulary.
        fallback: The goal that stands in for an answer that could not be used.

    >>> from llm_wrappers.guidance.planner import FunctionPlanner
    >>> planner = FunctionPlanner(lambda facts: [[("eat cow", 2.0)] for _ in facts])
    >>> planning = Planning(planner, goals=("collect wood", "eat cow"), fallback="collect wood")
    >>> planning.plans([{"hungry": True}])[0].goals
    (1,)
    """

    def __init__(self, planner: Planner, *, goals: Sequence[str], fallback: str) -> None:
        self.planner = planner
        self.vocabulary = {goal: index for index, goal in enumerate(goals)}
        self.fallback = Plan((self.vocabulary[fallback],), (1.0,), failed=True)
        self._may_be_empty = bool(getattr(planner, "may_be_empty", False))
        self._factors = [1.0] * len(self.vocabulary)
        self._is_weighted = False
        super().__init__(
            planner,
            words=_WORDS,
            counters=("states", "unknown_goals"),
            stand_in=self.fallback,
            remember_failures=True,
        )

    def plans(self, facts: Sequence[Mapping[str, Any]]) -> list[Plan]:
        """Return one plan per state."""
        plans = self._answers(facts)
        if not self._pure and self._is_weighted:
            plans = [plan.scaled(self._factors) for plan in plans]
        counts = self.counts
        counts["states"] += len(plans)
        for plan in plans:
            if plan.unknown:
                counts["unknown_goals"] += plan.unknown
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
        self._is_weighted = any(factor != 1.0 for factor in new)
        self._memory.view(self._scaled if self._is_weighted else None)

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode, ready for JSON: the counters and the factors."""
        return {**super().state_dict(), "factors": self.factors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it is the state of something else; nothing is changed then.
        """
        counts = self._checked_counts(state)
        factors = state["factors"]
        if isinstance(factors, Mapping) and factors.keys() != self.vocabulary.keys():
            raise InvalidOptionError(
                f"expected the state of a planner of the goals {list(self.vocabulary)}, got one of "
                f"{list(factors)}"
            )
        self.set_factors(factors)
        self.counts.update(counts)

    def _ask(self, states: States, actions: Sequence[Any]) -> Sequence[Any]:
        # A dict is the copy that `Consult` made; rows of a table become one here.
        return self.planner.plan([r if type(r) is dict else dict(r) for r in states.facts])

    def _check(self, answer: Any) -> Plan:
        return checked_plan(answer, self.vocabulary, may_be_empty=self._may_be_empty)

    def _scaled(self, answer: Any) -> Any:
        return answer.scaled(self._factors) if isinstance(answer, Plan) else answer


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
