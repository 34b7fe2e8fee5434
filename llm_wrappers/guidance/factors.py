"""Factors that change the weights of goals while training goes on."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.goal import is_weight

__all__ = ["HIGHEST_FACTOR", "LOWEST_FACTOR", "bounded_factor", "checked_factors"]

LOWEST_FACTOR, HIGHEST_FACTOR = 0.1, 10.0
"""The range in which re-weighers stay (our choice); set by hand, a factor may lie outside."""


def checked_factors(factors: Mapping[str, float], goals: Collection[str]) -> list[float]:
    """Return one factor for each goal, 1.0 where none is given.

    Args:
        factors: Goal -> factor, finite and > 0.
        goals: The goal vocabulary.

    Raises:
        InvalidOptionError: If a goal is unknown, or a factor is not finite and > 0.

    >>> checked_factors({"eat cow": 2}, ["collect wood", "eat cow"])
    [1.0, 2.0]
    """
    if not isinstance(factors, Mapping):
        raise InvalidOptionError(f"expected factors as goal -> factor, got {factors!r}")
    unknown = [goal for goal in factors if goal not in goals]
    if unknown:
        raise InvalidOptionError(
            f"expected factors of goals of the vocabulary {list(goals)}, got {unknown}"
        )
    for goal, factor in factors.items():
        if isinstance(factor, bool) or not is_weight(factor) or factor == 0:
            raise InvalidOptionError(
                f"the factor of goal {goal!r} must be finite and > 0, got {factor!r}"
            )
    return [float(factors.get(goal, 1.0)) for goal in goals]


def bounded_factor(factor: float) -> float:
    """Return the nearest factor that a re-weigher may give.

    >>> bounded_factor(0.0), bounded_factor(2.0), bounded_factor(99.0)
    (0.1, 2.0, 10.0)
    """
    return min(max(float(factor), LOWEST_FACTOR), HIGHEST_FACTOR)
