"""The suggester protocol: states to goals in free text (ELLM)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from llm_wrappers.guidance.states import States

__all__ = [
    "FunctionSuggester",
    "States",
    "Suggester",
    "SuggesterFunction",
    "Suggestions",
]

Suggestions: TypeAlias = "Sequence[Sequence[str] | None]"
SuggesterFunction: TypeAlias = "Callable[[States], Suggestions]"


@runtime_checkable
class Suggester(Protocol):
    """States to suggested goals, batch first (ELLM, arXiv 2302.06692).

    None in place of a state's goals means that there is no answer (yet): the step runs without
    guidance. An empty sequence means that nothing is suggested.

    What raises, or is no such sequence, is counted and the state runs without guidance.

    A suggester may also have these:

    `pure` (bool): its answer depends on the facts alone, so that it may be remembered. Without the
    attribute a suggester is asked at every step.

    `reads` (names of facts): the only facts it reads, for a pure suggester; it is then given only
    these.

    `reset(mask)`: called where episodes begin, with the sub-environments in which they do. A
    suggester with this method that is not pure is always asked about all sub-environments, in
    their order; any other may be asked about some of them, in any order.

    `stats()`: counters, which the wrapper reports with its own.
    """

    def suggest(self, states: States) -> Suggestions:
        """Return the suggested goals of each of the n states."""
        ...


class FunctionSuggester:
    """A plain function as a suggester.

    Args:
        function: Takes the `States` and returns one list of goals per state.
        pure: Whether the answer depends on the facts alone.

    >>> suggester = FunctionSuggester(lambda states: [["collect wood"] for _ in states.facts])
    >>> suggester.suggest(States([{}, {}], lambda facts: ["", ""]))
    [['collect wood'], ['collect wood']]
    """

    def __init__(self, function: SuggesterFunction, *, pure: bool = False) -> None:
        self.function = function
        self.pure = pure

    def suggest(self, states: States) -> Suggestions:
        """Call the function."""
        return self.function(states)
