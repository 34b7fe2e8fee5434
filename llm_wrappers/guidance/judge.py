"""Judges, from (state, action) to a judgement of -1, 0 or +1 (LMGT), and asking one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from llm_wrappers import checks
from llm_wrappers.errors import GuidanceError
from llm_wrappers.guidance.consult import Consult, Words
from llm_wrappers.guidance.states import States

__all__ = ["FunctionJudge", "Judge", "JudgeFunction", "Judgements", "Judging"]

Judgements: TypeAlias = "Sequence[int | None]"
JudgeFunction: TypeAlias = "Callable[[States, Sequence[Any]], Judgements]"


@runtime_checkable
class Judge(Protocol):
    """States and the actions taken in them to judgements, batch first (LMGT, arXiv 2409.04744).

    +1 says that the action is of value, -1 that it is of none or harmful, 0 that nobody knows.
    None means that there is no judgement (yet): the step runs without guidance.

    A judge may also have these:

    `pure` (bool): its answer depends on the facts and the action alone, so that it may be
    remembered. Without the attribute a judge is asked at every step.

    `reads` (names of facts): the only facts it reads, for a pure judge; it is then given only
    these, and asked only when one of them, or the action, differs.

    `reset(mask)`: called where episodes begin, with the sub-environments in which they do.

    `stats()`: counters, which the wrapper reports with its own.
    """

    def judge(self, states: States, actions: Sequence[Any]) -> Judgements:
        """Return the judgement of each of the n states and actions."""
        ...


class FunctionJudge:
    """A plain function as a judge.

    Args:
        function: Takes n states and n actions and returns n judgements.
        pure: Whether the answer depends on facts and action alone.
        reads: The only facts that a pure function reads; None for all.

    >>> judge = FunctionJudge(lambda states, actions: [1 if action else -1 for action in actions])
    >>> judge.judge(States([{}, {}], lambda facts: [""] * len(facts)), [0, 1])
    [-1, 1]
    """

    def __init__(
        self, function: JudgeFunction, *, pure: bool = False, reads: tuple[str, ...] | None = None
    ) -> None:
        self.function = function
        self.pure = pure
        self.reads = reads

    def judge(self, states: States, actions: Sequence[Any]) -> Judgements:
        """Call the function."""
        return self.function(states, actions)


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
