"""The selector protocol: played episodes to the moments that decided them (ULTRA)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from llm_wrappers.guidance.critical.moment import CriticalMoment
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["Selector"]


@runtime_checkable
class Selector(Protocol):
    """Played episodes to the moments that decided them, batch first (ULTRA, arXiv 2505.20671).

    A selector may also have `stats()`: counters, of what was dropped for example.
    """

    def select(
        self, trajectories: Sequence[Trajectory], *, per_episode: int
    ) -> Sequence[CriticalMoment]:
        """Return at most `per_episode` moments of each episode, in order of episode and step.

        No moment is returned twice. An episode of fewer steps has fewer of them.
        """
        ...
