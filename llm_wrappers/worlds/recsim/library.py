"""How RecSim is imported, and where its random numbers come from."""

# ruff: noqa: NPY002 - the old numbers of numpy are what RecSim draws from

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import gymnasium
import numpy as np

from llm_wrappers.errors import require

__all__ = ["OwnRandomNumbers", "recsim_module"]


def recsim_module(name: str) -> ModuleType:
    """Import a module of RecSim, with Gymnasium in the place of the old gym.

    RecSim takes no more than `spaces` and the base class `Env` from gym, which Gymnasium has too.
    gym itself prints that it is unmaintained when it is imported, and need not be installed. A gym
    that was imported before is left where it is.

    Args:
        name: The dotted name below ``recsim``.

    Raises:
        DependencyNotInstalled: If RecSim is not installed.
    """
    with _gymnasium_as_gym():
        return require(f"recsim.{name}", extra="recsim")


class OwnRandomNumbers:
    """Random numbers of one simulation, lent to numpy's global functions while it runs.

    RecSim draws choices of users from ``numpy.random``, which the whole process shares. Within
    `lent` these functions continue the stream of this object; afterwards they continue theirs, as
    if nothing had been drawn. Not for several threads at a time.

    Args:
        seed: Where the stream begins, from 0 to 2**32 - 1.

    >>> numbers = OwnRandomNumbers(3)
    >>> with numbers.lent():
    ...     first = np.random.rand()
    >>> with numbers.lent():
    ...     second = np.random.rand()
    >>> [first, second] == np.random.RandomState(3).rand(2).tolist()
    True
    """

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed).get_state()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let ``numpy.random`` draw from this stream."""
        theirs = np.random.get_state()
        np.random.set_state(self._state)
        try:
            yield
        finally:
            self._state = np.random.get_state()
            np.random.set_state(theirs)


@contextmanager
def _gymnasium_as_gym() -> Iterator[None]:
    if "gym" in sys.modules:
        yield
        return
    sys.modules["gym"] = gymnasium
    try:
        yield
    finally:
        del sys.modules["gym"]
