"""The potential protocol: how promising a state is, for shaping that keeps the best policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.suggester import States

__all__ = ["FunctionPotential", "Potential", "PotentialFunction", "RulePotential", "as_potential"]

PotentialFunction: TypeAlias = "Callable[[States], Sequence[float | None]]"


@runtime_checkable
class Potential(Protocol):
    """States to potentials Phi(s), batch first (Ng, Harada and Russell, 1999).

    None means that nobody knows (yet): a transition from or to such a state is not shaped.
    Optional attributes are those of a `Judge`.
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


def as_potential(potential: Potential | PotentialFunction) -> Potential:
    """Return the potential, or a plain function as one.

    Raises:
        InvalidOptionError: If it is neither.
    """
    if isinstance(potential, type):
        raise InvalidOptionError(
            f"expected a potential object, got the class {potential.__name__}; call it first"
        )
    if isinstance(potential, Potential):
        return potential
    if callable(potential) and not hasattr(potential, "judge"):
        return FunctionPotential(potential)
    raise InvalidOptionError(
        'mode="potential" needs an object with values(states), a function of states that returns a '
        'number or None for each, or a name such as "reference"; '
        f"got {type(potential).__name__}"
    )
