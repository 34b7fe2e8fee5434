"""Random streams of a wrapper's own, derived from the seed of the episode's reset."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

__all__ = ["depth_of", "make_stream"]


def make_stream(seed: int | None, owner: str, depth: int) -> np.random.Generator:
    """Return a generator for one wrapper of one sub-environment.

    It is a spawn of the seed's sequence, under a key of its owner's name and place. The
    environment's own stream is not touched, so that runs with and without the wrapper see the
    same worlds, and a single environment and a vector environment draw the same numbers.

    Args:
        seed: The seed of the sub-environment's reset, or None for fresh entropy.
        owner: The name of the wrapper class.
        depth: How many wrappers of this class are further inside.

    >>> make_stream(1, "A", 0).random() == make_stream(1, "A", 0).random()
    True
    >>> make_stream(1, "A", 0).random() == make_stream(1, "B", 0).random()
    False
    """
    spawn_key = (zlib.crc32(owner.encode()), depth)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=spawn_key))


def depth_of(env: Any, owner: str) -> int:
    """Return how many layers of `env` are of the class named `owner`."""
    depth, layer = 0, env
    while layer is not None:
        depth += type(layer).__name__ == owner
        layer = getattr(layer, "env", None)
    return depth
