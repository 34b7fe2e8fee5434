"""Saying that no critical state was ever met."""

from __future__ import annotations

import warnings

from llm_wrappers.errors import GuidanceWarning
from llm_wrappers.guidance.parts import Tally

__all__ = ["NoHits"]

_STEPS_WITHOUT_A_HIT = 1000


class NoHits(Tally):
    """Counters of `steps` and `hits`, which say once that no critical state was ever met."""

    was_said = False

    def say_if_none(self, key: str) -> None:
        """Warn of a table in which no state was found in 1,000 steps.

        Args:
            key: When two states are the same in that table.
        """
        steps = self["steps"]
        if self.was_said or self["hits"] or steps < _STEPS_WITHOUT_A_HIT:
            return
        self.was_said = True
        warnings.warn(
            f"no critical state was met in {steps} steps with key={key!r}, so that this is "
            "training without guidance: exact keys never match where episodes begin at random in a "
            "continuous space, and none match observations that are normalised; record the states "
            "below the same wrappers, or give CriticalStates a coarser key, "
            '"rounded:DECIMALS", "bins:WIDTH" or "nearest:RADIUS"; said once',
            GuidanceWarning,
            stacklevel=3,
        )
