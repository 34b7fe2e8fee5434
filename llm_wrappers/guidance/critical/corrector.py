"""The corrector protocol: moments of played episodes to better actions (ULTRA)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from llm_wrappers.guidance.critical.critical_state import CriticalState
from llm_wrappers.guidance.critical.moment import CriticalMoment
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["Corrector"]


@runtime_checkable
class Corrector(Protocol):
    """Moments to advised actions and rewards, batch first (ULTRA, arXiv 2505.20671).

    The reward of a critical state rates what the agent did there, in [-1, 1].

    A corrector may also have `stats()`: counters, of what was dropped for example.
    """

    def correct(
        self, trajectories: Sequence[Trajectory], moments: Sequence[CriticalMoment]
    ) -> Sequence[CriticalState | None]:
        """Return a critical state for each moment, None where there is no advice.

        The state is the observation before the action of that step, or of a Dict observation the
        part that the table looks up.
        """
        ...
