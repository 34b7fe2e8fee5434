"""The judge protocol: (state, action) to a judgement of -1, 0 or +1 (LMGT)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from llm_wrappers.guidance.states import States

__all__ = ["FunctionJudge", "Judge", "JudgeFunction", "Judgements"]

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
