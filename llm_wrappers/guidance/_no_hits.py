"""Saying that no critical state was ever met."""

from __future__ import annotations

import warnings

from llm_wrappers.errors import GuidanceWarning

__all__ = ["warn_of_no_hits"]

_STEPS_WITHOUT_A_HIT = 1000


def warn_of_no_hits(key: str, *, steps: int, hits: int) -> bool:
    """Warn of a table in which no state was found in 1,000 steps, and return whether it did.

    Args:
        key: When two states are the same in that table.
        steps: How many states were looked up.
        hits: How many of them were found.
    """
    if hits or steps < _STEPS_WITHOUT_A_HIT:
        return False
    warnings.warn(
        f"no critical state was met in {steps} steps with key={key!r}, so that this is training "
        "without guidance: exact keys never match where episodes begin at random in a continuous "
        "space, and none match observations that are normalised; record the states below the same "
        'wrappers, or give CriticalStates a coarser key, "rounded:DECIMALS", "bins:WIDTH" or '
        '"nearest:RADIUS"; said once',
        GuidanceWarning,
        stacklevel=3,
    )
    return True
