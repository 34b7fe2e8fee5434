"""Asking a judge: remembered where it may be, checked always, never fatal."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import GuidanceError, GuidanceWarning
from llm_wrappers.guidance.judge import Judge
from llm_wrappers.guidance.remembering import Remembering
from llm_wrappers.guidance.suggester import States
from llm_wrappers.guidance.suggesting import facts_keys, is_for_the_user

__all__ = ["Judging", "action_key"]

_MOST_REMEMBERED = 200_000
_VALUES = frozenset({-1, 0, 1})


class Judging:
    """A judge behind checks, memory and counters; batch first.

    A pure judge is asked once per distinct key of the facts it reads and action. Where a judge
    fails, or has no judgement yet, there is none; it is counted, and a failure is warned of once.
    What the user has to mend (a key, a model) is raised, unless the judge has worked before.

    Args:
        judge: The judge.
        caption: From facts to one state caption each.
    """

    def __init__(
        self,
        judge: Judge,
        *,
        caption: Callable[[Sequence[Mapping[str, Any]]], Sequence[str]],
    ) -> None:
        self.judge = judge
        self._caption = caption
        self._reads: tuple[str, ...] | None = getattr(judge, "reads", None)
        self._pure = bool(getattr(judge, "pure", False))
        self._remembered: Remembering[int | None] = Remembering(_MOST_REMEMBERED)
        self._worked = False
        self._warned = False
        self.pairs_asked = 0
        self.counts = dict.fromkeys(("good", "neutral", "bad", "unjudged", "judge_failures"), 0)

    def judgements(
        self,
        facts: Sequence[Mapping[str, Any]],
        actions: Sequence[Any],
        rows: Sequence[int],
    ) -> list[int | None]:
        """Return the judgements of some of n states and actions, None where there is none.

        Args:
            facts: The facts of all n sub-environments.
            actions: The actions of all n.
            rows: Which of them are wanted.
        """
        found = self._recalled(facts, actions, rows) if self._pure else []
        if not self._pure:
            found = self._ask([facts[row] for row in rows], [actions[row] for row in rows])
        counts = self.counts
        counts["good"] += found.count(1)
        counts["neutral"] += found.count(0)
        counts["bad"] += found.count(-1)
        counts["unjudged"] += found.count(None)
        return found

    def reset(self, fresh: NDArray[np.bool_]) -> None:
        """Tell a judge that wants to know where episodes begin, shape (n,)."""
        begin = getattr(self.judge, "reset", None)
        if begin is None:
            return
        try:
            begin(fresh.copy())
        except Exception as error:
            self._meet(error)

    def stats(self) -> dict[str, Any]:
        """Return the counters, with those of the judge where it has some."""
        theirs = getattr(self.judge, "stats", None)
        own = {**self.counts, "pairs_asked": self.pairs_asked}
        return own if theirs is None else {**own, "judge": theirs()}

    def _recalled(
        self, facts: Sequence[Mapping[str, Any]], actions: Sequence[Any], rows: Sequence[int]
    ) -> list[int | None]:
        states = facts_keys(facts, self._reads)

        def ask(places: list[int]) -> list[int | None]:
            asked = [rows[place] for place in places]
            return self._ask([facts[row] for row in asked], [actions[row] for row in asked])

        # What failed, or has no answer yet, is asked again.
        keys = [(states[row], action_key(actions[row])) for row in rows]
        return self._remembered.answers(keys, ask, keep=lambda answer: answer is not None)

    def _ask(self, facts: Sequence[Mapping[str, Any]], actions: Sequence[Any]) -> list[int | None]:
        if not facts:
            return []
        self.pairs_asked += len(facts)
        try:
            answers = list(self.judge.judge(States(facts, self._caption), actions))
            if len(answers) != len(facts):
                raise GuidanceError(f"expected {len(facts)} judgements, got {len(answers)}")
        except Exception as error:
            if len(facts) == 1:
                self._meet(error)
                return [None]
            # One bad state must not take the judgements away from the others.
            self.pairs_asked -= len(facts)
            pairs = zip(facts, actions, strict=True)
            return [answer for row, action in pairs for answer in self._ask([row], [action])]
        self._worked = True
        return [self._checked(answer) for answer in answers]

    def _checked(self, answer: Any) -> int | None:
        if answer is None:
            return None
        if isinstance(answer, int | np.integer) and not isinstance(answer, bool):
            value = int(answer)
            if value in _VALUES:
                return value
        # Nothing of the answer is printed: nobody has checked it.
        self._meet(GuidanceError("expected -1, 0, +1 or None for each state and action"))
        return None

    def _meet(self, error: Exception) -> None:
        if is_for_the_user(error, worked=self._worked):
            raise error
        self.counts["judge_failures"] += 1
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the judge failed ({type(error).__name__}: {error}); steps like this one are not "
                "judged and are counted in stats(); said once",
                GuidanceWarning,
                stacklevel=2,
            )


def action_key(action: Any) -> Hashable:
    """Return what tells an action from others, whatever holds it.

    >>> action_key(np.int64(2)) == action_key(2)
    True
    """
    if isinstance(action, int | np.integer):
        return int(action)
    if isinstance(action, Mapping):
        return tuple((name, action_key(part)) for name, part in sorted(action.items()))
    if isinstance(action, list | tuple):
        return tuple(map(action_key, action))
    array = np.asarray(action)
    return array.dtype.str, array.shape, array.tobytes()
