"""Two sets of judgements side by side."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from llm_wrappers.guidance.judge import Judgements

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """Two sets of judgements of the same states and actions.

    Args:
        compared: Where both have one.
        agreement: The share of these in which they are equal; None if there are none.
        opposed: The share in which one approves and the other disapproves.
        kappa: Cohen's kappa, agreement beyond chance: 1 is always, 0 is what two judges with these
            shares of answers reach by chance. None where chance alone explains all.
    """

    compared: int
    agreement: float | None
    opposed: float | None
    kappa: float | None

    def __str__(self) -> str:
        if self.agreement is None:
            return "nothing to compare"
        kappa = "" if self.kappa is None else f", kappa {self.kappa:.2f}"
        return f"{self.agreement:.1%} equal, {self.opposed:.1%} opposed{kappa} ({self.compared})"


def compare(mine: Judgements, theirs: Judgements) -> Comparison:
    """Compare two sets of n judgements.

    >>> print(compare([1, 0, -1, None], [1, 1, -1, 1]))
    66.7% equal, 0.0% opposed, kappa 0.50 (3)
    """
    pairs = [
        (one, other)
        for one, other in zip(mine, theirs, strict=True)
        if one is not None and other is not None
    ]
    if not pairs:
        return Comparison(0, None, None, None)
    agreement = sum(one == other for one, other in pairs) / len(pairs)
    opposed = sum(one * other < 0 for one, other in pairs) / len(pairs)
    first, second = (Counter(column) for column in zip(*pairs, strict=True))
    chance = sum(first[value] * second[value] for value in (-1, 0, 1)) / len(pairs) ** 2
    kappa = None if chance == 1.0 else (agreement - chance) / (1 - chance)
    return Comparison(len(pairs), agreement, opposed, kappa)
