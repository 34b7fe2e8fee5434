"""From a number for each step to moments: the largest ones, not too near to each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.guidance.critical.moment import CriticalMoment

__all__ = ["moments_of"]


def moments_of(
    importances: Sequence[NDArray[np.float64]],
    *,
    per_episode: int,
    min_gap: int,
    rationale: str,
    above: float = -np.inf,
) -> list[CriticalMoment]:
    """Return the most important steps of each episode, in order of episode and step.

    Steps are taken from the most important one down, of equals the earlier, and those nearer than
    `min_gap` to one that is taken are left out.

    Args:
        importances: One array of shape (T,) for each episode.
        per_episode: How many moments at most, at least 1.
        min_gap: How many steps two moments of an episode are apart at least, at least 1.
        rationale: What goes into each moment; ``{importance}`` is replaced.
        above: Only steps of more importance than this are taken.

    Raises:
        InvalidOptionError: If `per_episode` is no whole number >= 1.
    """
    checks.whole("per_episode", per_episode, least=1)
    return [
        CriticalMoment(
            episode,
            step,
            importance=float(row[step]),
            rationale=rationale.format(importance=f"{row[step]:.3g}"),
        )
        for episode, row in enumerate(importances)
        for step in _picked(row, per_episode, min_gap, above)
    ]


def _picked(row: NDArray[np.float64], count: int, min_gap: int, above: float) -> list[int]:
    open_steps = row > above
    picked: list[int] = []
    for step in np.argsort(-row, kind="stable").tolist():
        if len(picked) == count:
            break
        if open_steps[step]:
            picked.append(step)
            open_steps[max(step - min_gap + 1, 0) : step + min_gap] = False
    return sorted(picked)
