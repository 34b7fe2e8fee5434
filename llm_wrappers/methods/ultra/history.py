"""What a table needs to know of all episodes, not only of their critical states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.critical.state_keys import make_keys
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["History", "states_of"]

# Rounding leaves equal numbers a spread that is not quite zero.
_NOISE = 1e-9
_NUMBERS_AT_ONCE = 2**20


@dataclass(frozen=True)
class History:
    """The lengths of episodes, and how far their states spread; None where they are no numbers."""

    lengths: tuple[int, ...]
    example: NDArray[np.float64] | None
    spread: NDArray[np.float64] | None

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory], part: str | None) -> History:
        """Return that of some episodes, or of a part of their observations; each is read once."""
        lengths = []
        first: NDArray[np.float64] | None = None
        count = 0
        total: Any = 0.0
        squares: Any = 0.0
        largest: Any = 0.0
        for trajectory in trajectories:
            lengths.append(len(trajectory))
            for states in _states(trajectory, part):
                first = states[:1] if first is None else first
                if states.shape[1] != first.shape[1]:
                    continue
                with np.errstate(all="ignore"):
                    # Relative to the first, so that little is lost to rounding.
                    apart = states - first
                    count += len(states)
                    total = total + apart.sum(axis=0)
                    squares = squares + np.square(apart).sum(axis=0)
                    largest = np.maximum(largest, np.abs(states).max(axis=0))
        if first is None:
            return cls(tuple(lengths), None, None)
        with np.errstate(all="ignore"):
            spread = np.sqrt(np.maximum(squares / count - np.square(total / count), 0.0))
            kept = np.isfinite(spread) & (spread > _NOISE * largest)
        return cls(tuple(lengths), first, np.where(kept, spread, 1.0))

    def scales(self, key: str) -> list[float] | None:
        """Return the scales of a table with a key that has some, None for others."""
        if self.example is None or self.spread is None:
            return None
        make_keys(key, self.example)
        return self.spread.tolist() if key.startswith("nearest") else None


def _states(trajectory: Trajectory, part: str | None) -> Iterator[NDArray[np.float64]]:
    """Yield flat states a few at a time: an episode of pictures is too large to copy at once."""
    observations = states_of(trajectory.observations, part)
    if not isinstance(observations, np.ndarray) or observations.dtype.kind not in "biuf":
        return
    # The state in which an episode ended is never looked up.
    flat = observations[:-1].reshape(len(trajectory), -1)
    rows = max(_NUMBERS_AT_ONCE // max(flat.shape[1], 1), 1)
    for start in range(0, len(flat), rows):
        yield flat[start : start + rows].astype(np.float64)


def states_of(observations: Any, part: str | None) -> Any:
    """Return what states are looked up by: the observations, or a part of a Dict's."""
    if isinstance(observations, Mapping):
        if part not in observations:
            raise InvalidOptionError(
                f"expected part to be one of the observation's {sorted(observations)}, got {part!r}"
            )
        return observations[part]
    if part is not None:
        raise InvalidOptionError(f"part={part!r} is only for Dict observations")
    return observations
