"""Asking a judge: what the actions taken in n states are worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llm_wrappers import checks
from llm_wrappers.errors import GuidanceError
from llm_wrappers.guidance.consult import Consult, Words
from llm_wrappers.guidance.judge import Judge
from llm_wrappers.guidance.states import States

__all__ = ["Judging"]

_WORDS = Words(
    who="judge",
    answers="judgements",
    meanwhile="steps like this one are not judged",
    asked="pairs_asked",
    failed="judge_failures",
)


class Judging(Consult["int | None"]):
    """A judge that is consulted; batch first.

    Where the judge fails, or has no judgement yet, there is none, and it is asked again.

    Args:
        judge: The judge.
        caption: From facts to one state caption each.

    >>> from llm_wrappers.guidance.judge import FunctionJudge
    >>> judge = FunctionJudge(lambda states, actions: [1 if action else None for action in actions])
    >>> judging = Judging(judge, caption=lambda facts: ["a state"] * len(facts))
    >>> judging.judgements([{}, {}], actions=[1, 0], rows=[0, 1])
    [1, None]
    """

    def __init__(
        self,
        judge: Judge,
        *,
        caption: Callable[[Sequence[Mapping[str, Any]]], Sequence[str]],
    ) -> None:
        self.judge = judge
        counters = ("good", "neutral", "bad", "unjudged")
        super().__init__(judge, words=_WORDS, counters=counters, stand_in=None, caption=caption)

    @property
    def pairs_asked(self) -> int:
        """How many states and actions the judge was asked about."""
        return self.counts["pairs_asked"]

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
        found = self._answers(facts, rows, actions)
        counts = self.counts
        counts["good"] += found.count(1)
        counts["neutral"] += found.count(0)
        counts["bad"] += found.count(-1)
        counts["unjudged"] = counts["unguided"]
        return found

    def _ask(self, states: States, actions: Sequence[Any]) -> Sequence[Any]:
        return self.judge.judge(states, actions)

    def _check(self, answer: Any) -> int | None:
        if answer is None:
            return None
        if checks.is_whole(answer) and -1 <= answer <= 1:
            return int(answer)
        # Nothing of the answer is printed: nobody has checked it.
        raise GuidanceError("expected -1, 0, +1 or None for each state and action")
