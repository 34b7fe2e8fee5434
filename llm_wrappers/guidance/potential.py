"""The potential protocol: how promising a state is, for shaping that keeps the best policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.errors import GuidanceError
from llm_wrappers.guidance.consult import Consult, Words
from llm_wrappers.guidance.states import States

__all__ = [
    "FunctionPotential",
    "Potential",
    "PotentialFunction",
    "Potentials",
    "RulePotential",
]

_WORDS = Words(
    who="potential",
    answers="potentials",
    meanwhile="steps like this one are not shaped",
    asked="states_asked",
    failed="potential_failures",
)

PotentialFunction: TypeAlias = "Callable[[States], Sequence[float | None]]"


@runtime_checkable
class Potential(Protocol):
    """States to potentials Phi(s), batch first (Ng, Harada and Russell, 1999).

    None means that nobody knows (yet): a transition from or to such a state is not shaped.
    Optional attributes are those of a `Judge`: one that is `pure` is asked once about each state.
    """

    def values(self, states: States) -> Sequence[float | None]:
        """Return the potential of each of the n states."""
        ...


class FunctionPotential:
    """A plain function as a potential.

    Args:
        function: Takes n states and returns n numbers or None.
    """

    def __init__(self, function: PotentialFunction) -> None:
        self.function = function

    def values(self, states: States) -> Sequence[float | None]:
        """Call the function."""
        return self.function(states)


class RulePotential:
    """A rule for the facts of one state, as a potential.

    Args:
        rule: From facts to a number.

    >>> RulePotential(lambda facts: facts["x"] / 2).values(States([{"x": 3}], lambda facts: []))
    [1.5]
    """

    def __init__(self, rule: Callable[[Mapping[str, Any]], float]) -> None:
        self.rule = rule

    def values(self, states: States) -> list[float]:
        """Return what the rule says of each state."""
        return [self.rule(facts) for facts in states.facts]


class Potentials(Consult[float]):
    """A potential that is consulted; batch first.

    Where the potential fails, or nobody knows yet, it is not a number, and is asked again.

    Args:
        potential: The potential.
        caption: From facts to one state caption each.

    >>> near = RulePotential(lambda facts: -facts["steps_left"])
    >>> potentials = Potentials(near, caption=lambda facts: ["a state"] * len(facts))
    >>> potentials.values([{"steps_left": 3}, {"steps_left": 1}], rows=[0, 1]).tolist()
    [-3.0, -1.0]
    """

    def __init__(
        self,
        potential: Potential,
        *,
        caption: Callable[[Sequence[Mapping[str, Any]]], Sequence[str]],
    ) -> None:
        self.potential = potential
        super().__init__(potential, words=_WORDS, stand_in=math.nan, caption=caption)

    @property
    def states_asked(self) -> int:
        """How many states the potential was asked about."""
        return self.counts["states_asked"]

    def values(
        self, facts: Sequence[Mapping[str, Any]], rows: Sequence[int]
    ) -> NDArray[np.float64]:
        """Return the potentials of some of n states, shape (len(rows),); nan where none is known.

        Args:
            facts: The facts of all n sub-environments.
            rows: Which of them are wanted.
        """
        return np.array(self._answers(facts, rows), dtype=np.float64)

    def _ask(self, states: States, actions: Sequence[Any]) -> Sequence[Any]:
        return self.potential.values(states)

    def _check(self, answer: Any) -> float | None:
        if answer is None:
            return None
        if checks.is_number(answer):
            return float(answer)
        # Nothing of the answer is printed: nobody has checked it.
        raise GuidanceError("expected a finite number or None for each state")
