"""The score of the Crafter benchmark, as its authors compute it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llm_wrappers.errors import InvalidOptionError

__all__ = ["crafter_score", "official_score", "success_rates"]

_PREFIX = "achievement_"


def crafter_score(
    success_rates: Mapping[str, float] | Sequence[float] | npt.NDArray[np.floating],
) -> float:
    """Return the geometric mean of success rates with an offset of one percentage point.

    The score is exp(mean(ln(1 + p))) - 1, so rare achievements count as much as common ones.
    Crafter has 22 achievements; an achievement never unlocked must be present with a rate of 0.

    Args:
        success_rates: One rate per achievement, in percent (0 to 100), in any order.

    Returns:
        A number from 0 to 100, between the lowest and the highest rate.

    Raises:
        InvalidOptionError: If there is no rate, or one is not in the range of 0 to 100.

    >>> round(crafter_score([100.0] * 22), 1)
    100.0
    >>> round(crafter_score([100.0] * 21 + [0.0]), 1)
    80.9
    """
    values = success_rates.values() if isinstance(success_rates, Mapping) else success_rates
    rates = np.asarray(list(values), dtype=np.float64)
    if rates.ndim != 1 or rates.size == 0:
        raise InvalidOptionError(
            f"success_rates must be one number per achievement, got an array of shape {rates.shape}"
        )
    if not np.all((rates >= 0) & (rates <= 100)):
        raise InvalidOptionError(f"success_rates must be percentages in 0..100, got {rates}")
    return float(np.expm1(np.mean(np.log1p(rates))))


def success_rates(episodes: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return how often each achievement was unlocked, in percent of the episodes.

    An episode succeeds if it unlocked the achievement at least once.

    Args:
        episodes: Records in the format of Crafter's own recorder; each key
            ``"achievement_<name>"`` holds a count. A key missing from a record counts as 0.

    Returns:
        Achievement name (without the prefix) to percentage, sorted by name.

    Raises:
        InvalidOptionError: If there are no episodes, or none of them has an achievement key.

    >>> success_rates([{"achievement_eat_cow": 2}, {"achievement_eat_cow": 0}])
    {'eat_cow': 50.0}
    """
    unlocks: dict[str, int] = {}
    total = 0
    for episode in episodes:
        total += 1
        for key, count in episode.items():
            if key.startswith(_PREFIX):
                name = key[len(_PREFIX) :]
                unlocks[name] = unlocks.get(name, 0) + (count >= 1)
    if not unlocks:
        raise InvalidOptionError(
            f"episodes must hold at least one record with '{_PREFIX}<name>' keys, "
            f"got {total} records without any"
        )
    return {name: 100.0 * unlocks[name] / total for name in sorted(unlocks)}


def official_score(episodes: Iterable[Mapping[str, Any]], budget: float | None = None) -> float:
    """Return the Crafter score of one training run over its training episodes.

    "All training episodes" are the ones the learning agent played from its first step on, with
    exploration, early failures included. The benchmark asks for those within the first million
    environment steps. The score of a trained policy in separate evaluation episodes is higher and
    must not be listed beside it.

    Args:
        episodes: The records of one run in the order in which the episodes ended; each holds its
            ``"length"`` in environment steps.
        budget: The number of environment steps of the benchmark. An episode counts if it ends
            within the budget, steps being summed over the lengths of the records. None counts
            every episode. With several sub-environments, steps of unfinished episodes are not
            in that sum, as in the authors' own analysis.

    Returns:
        A number from 0 to 100. Average it over seeds, never pool the episodes of several seeds.

    Raises:
        InvalidOptionError: If the budget is not positive, or no episode ends within it.

    >>> early, late = {"length": 60, "achievement_sleep": 0}, {"length": 60, "achievement_sleep": 1}
    >>> round(official_score([early, late]), 6)
    50.0
    >>> official_score([early, late], budget=100)
    0.0
    """
    if budget is None:
        return crafter_score(success_rates(episodes))
    if not budget > 0:
        raise InvalidOptionError(f"budget must be a positive number of steps, got {budget!r}")
    within = _ending_within(episodes, budget)
    if not within:
        raise InvalidOptionError(f"no episode ends within the budget of {budget:g} steps")
    return crafter_score(success_rates(within))


def _ending_within(episodes: Iterable[Mapping[str, Any]], budget: float) -> list[Mapping[str, Any]]:
    within, steps = [], 0
    for episode in episodes:
        steps += episode["length"]
        if steps > budget:
            break
        within.append(episode)
    return within
