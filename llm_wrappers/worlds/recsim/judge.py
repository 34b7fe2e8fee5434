"""What is worth showing: the judgement of slates in RecSim's interest evolution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["interest_evolution"]

# How far from the average of all documents to the best slate a good one has to come; our choice.
_GOOD_SHARE = 0.5
_EQUAL = 1e-9


def interest_evolution(facts: Mapping[str, Any], slate: Any) -> int:
    """Judge a slate by the quality of what the user is likely to watch of it.

    The mean quality of its documents is weighted by the interest of the user, which is how RecSim's
    users choose. +1 is at least halfway from what all candidates together have to what the
    documents of best quality have, -1 is less than all together, 0 is between, or where nothing can
    be chosen. The thresholds are our choice. It is a rule of thumb, not an oracle: it looks no
    further than the next video.

    >>> facts = {"candidates": 2, "document 0 interest": 0.5, "document 0 quality": -2.0}
    >>> facts |= {"document 1 interest": 0.0, "document 1 quality": 1.0}
    >>> interest_evolution(facts, [1]), interest_evolution(facts, [0])
    (1, -1)
    """
    shown = set(np.ravel(slate).astype(int).tolist())
    everything = range(facts["candidates"])
    best = sorted(everything, key=lambda k: -facts[f"document {k} quality"])[: len(shown)]
    average = _watched_quality(facts, everything)
    room = _watched_quality(facts, best) - average
    share = (_watched_quality(facts, shown) - average) / room if room > _EQUAL else 0.0
    if share < 0:
        return -1
    return int(share >= _GOOD_SHARE)


def _watched_quality(facts: Mapping[str, Any], documents: Iterable[int]) -> float:
    """Return the mean quality of documents, weighted by how likely each is watched."""
    documents = sorted(documents)
    qualities = [facts[f"document {k} quality"] for k in documents]
    # An interest of -1 is a probability of 0; it must not leave a slate without any weight.
    weights = [max(1.0 + facts[f"document {k} interest"], 1e-6) for k in documents]
    return float(np.average(qualities, weights=weights))
