"""What a model suggested for states that were asked about beforehand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Annotation"]

_SHOWN = 10


@dataclass(frozen=True)
class Annotation:
    """Suggested goals by state caption, as they came from a model; ``print`` sums them up.

    Args:
        suggestions: State caption -> goals; empty where nothing was suggested.
        unreadable: How many answers could not be read.

    >>> print(Annotation({"You see a tree.": ("chop tree",), "You see a cow.": ()}, unreadable=1))
    2 states, 1 with suggestions, 1 answers unreadable; 1 different goals, the most frequent:
      1  chop tree
    """

    suggestions: Mapping[str, tuple[str, ...]]
    unreadable: int

    def goals(self) -> dict[str, int]:
        """Return for each goal in how many states it was suggested, the most frequent first."""
        counts = Counter(goal for goals in self.suggestions.values() for goal in goals)
        return dict(counts.most_common())

    def __str__(self) -> str:
        goals = self.goals()
        useful = sum(bool(found) for found in self.suggestions.values())
        head = (
            f"{len(self.suggestions)} states, {useful} with suggestions, {self.unreadable} answers "
            f"unreadable; {len(goals)} different goals" + (", the most frequent:" if goals else "")
        )
        rows = [f"{number:3}  {goal}" for goal, number in list(goals.items())[:_SHOWN]]
        return "\n".join([head, *rows])
