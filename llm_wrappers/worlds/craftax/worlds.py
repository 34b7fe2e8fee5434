"""The running worlds of n sub-environments: states, seeds, and new worlds where one has ended."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.worlds.craftax.engine import Frame, compiled_kernels

__all__ = ["Worlds"]

_LARGEST_SEED = np.iinfo(np.uint32).max
_LONGEST_EPISODE = np.iinfo(np.int32).max  # Craftax counts the steps in 32 bits


class Worlds:
    """n worlds of Craftax-Classic that step together.

    A world is generated only where an episode has ended; a step of all n never generates one.

    Args:
        n: The number of worlds.
        observation: ``"symbolic"`` or ``"pixels"``.
        length: The number of steps after which an episode is truncated.
    """

    def __init__(self, n: int, *, observation: str, length: int) -> None:
        self._n = n
        self._length = np.int32(min(length, _LONGEST_EPISODE))
        self._observation = observation
        self._seeds = np.zeros(n, dtype=np.uint32)
        self._states: Any = None

    @property
    def started(self) -> bool:
        """Whether every world has been generated."""
        return self._states is not None

    def start(self, generators: list[np.random.Generator]) -> Frame:
        """Generate every world anew and return their first frame.

        Args:
            generators: One generator per sub-environment; each gives one number per world.
        """
        kernels = compiled_kernels(self._observation)
        worlds = [
            kernels.new_world(self._draw_seed(index, generator))
            for index, generator in enumerate(generators)
        ]
        self._states = kernels.stack([state for state, _ in worlds])
        frames = [frame for _, frame in worlds]
        return Frame(
            *(np.stack([np.asarray(x) for x in field]) for field in zip(*frames, strict=True))
        )

    def restart(self, index: int, generator: np.random.Generator) -> Frame:
        """Generate one world anew and return its first frame, with a leading axis of 1."""
        kernels = compiled_kernels(self._observation)
        state, frame = kernels.new_world(self._draw_seed(index, generator))
        self._states = kernels.insert(self._states, state, np.int32(index))
        return Frame(*(np.asarray(field)[None] for field in frame))

    def step(self, actions: NDArray[np.integer[Any]]) -> Frame:
        """Step every world; the actions have shape (n,)."""
        self._states, frame = compiled_kernels(self._observation).step(
            self._states, self._seeds, actions.astype(np.int32), self._length
        )
        return frame  # type: ignore[no-any-return]

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Return an RGB picture of what the agent of one world sees, shape (144, 144, 3)."""
        return np.array(compiled_kernels(self._observation).render(self._states, np.int32(index)))

    def _draw_seed(self, index: int, generator: np.random.Generator) -> np.uint32:
        seed = np.uint32(generator.integers(_LARGEST_SEED, dtype=np.uint32))
        self._seeds[index] = seed
        return seed
