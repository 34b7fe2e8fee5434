"""Which sub-environments have just begun an episode, and the rows of batched data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray

from llm_wrappers.wrappers._streams import make_stream

__all__ = ["Episodes", "final_goals", "final_observations", "take_rows", "with_column"]


class Episodes:
    """Episode bookkeeping of a vector wrapper, for every autoreset mode.

    Args:
        envs: The vector environment below.
        owner: The name of the wrapper class, for its random streams.
        depth: How many wrappers of this class are further inside.
    """

    def __init__(
        self, envs: gym.vector.VectorEnv[Any, Any, Any], *, owner: str, depth: int
    ) -> None:
        self._n = envs.num_envs
        self._mode = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._owner = owner
        self._depth = depth
        self._ended = np.zeros(self._n, dtype=np.bool_)
        self.streams = [make_stream(None, owner, depth) for _ in range(self._n)]

    @property
    def same_step(self) -> bool:
        """Whether a step that ends an episode already shows the next one."""
        return bool(self._mode == AutoresetMode.SAME_STEP)

    def waiting(self) -> NDArray[np.bool_]:
        """Return where the next step will only show a new episode, shape (n,)."""
        if self._mode == AutoresetMode.NEXT_STEP:
            return self._ended.copy()
        return np.zeros(self._n, dtype=np.bool_)

    def begin(
        self, seed: int | Sequence[int | None] | None, options: Mapping[str, Any] | None
    ) -> NDArray[np.bool_]:
        """Return which sub-environments a reset with these arguments resets, shape (n,).

        Call it before the inner reset, which may take the mask out of the options.
        """
        mask = (options or {}).get("reset_mask")
        fresh = np.ones(self._n, dtype=np.bool_) if mask is None else np.array(mask, dtype=np.bool_)
        seeds = [seed + i for i in range(self._n)] if isinstance(seed, int | np.integer) else seed
        if seeds is not None:
            for index in np.flatnonzero(fresh).tolist():
                if seeds[index] is not None:
                    self.streams[index] = make_stream(seeds[index], self._owner, self._depth)
        self._ended &= ~fresh
        return fresh

    def advance(self, ended: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which sub-environments show the first state of an episode after a step.

        Args:
            ended: Where the step terminated or truncated an episode, shape (n,).
        """
        if self.same_step:
            return np.array(ended, dtype=np.bool_)
        # With autoreset at the next step, that step shows the new episode.
        fresh = self.waiting()
        self._ended = np.array(ended, dtype=np.bool_)
        return fresh


def take_rows(batch: Any, rows: NDArray[np.intp]) -> Any:
    """Return the rows of batched observations or infos; nested dicts and tuples allowed."""
    if isinstance(batch, Mapping):
        return {key: take_rows(value, rows) for key, value in batch.items()}
    if isinstance(batch, tuple) and all(isinstance(value, str) for value in batch):
        # A batch of texts is a tuple with one of them per row, not one batch per part.
        return tuple(batch[row] for row in rows)
    if isinstance(batch, tuple):
        return tuple(take_rows(value, rows) for value in batch)
    return np.asarray(batch)[rows]


def final_observations(
    infos: Mapping[str, Any], space: gym.Space[Any], rows: NDArray[np.intp]
) -> Any:
    """Return the last observations of the episodes that ended, batched along the first axis."""
    final = [infos["final_obs"][row] for row in rows]
    batch: Any = create_empty_array(space, n=len(rows), fn=np.zeros)
    return concatenate(space, final, batch)


def final_goals(
    final_goal: Callable[..., Any] | None, infos: Mapping[str, Any], rows: NDArray[np.intp]
) -> list[str | None]:
    """Return the goals of the last states of the episodes that ended, None for no goal.

    Args:
        final_goal: The method of the layers below, which tells a goal that guides from one that is
            only shown because the planner failed; None where no layer has one.
        infos: The infos, whose final ones tell it otherwise.
        rows: Where an episode ended.
    """
    goals = infos["final_info"].get("goal") if final_goal is None else final_goal()
    return [None if goals is None else goals[row] or None for row in rows]


def with_column(
    infos: Mapping[str, Any], key: str, values: NDArray[Any], present: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return infos with one more entry and its mask.

    Args:
        infos: The infos, left as they are.
        key: The name of the entry.
        values: Shape (n, ...), copied.
        present: Which sub-environments have the entry, shape (n,).
    """
    values = values.copy()
    # What gymnasium.vector puts where there is no entry.
    values[~present] = None if values.dtype == object else 0
    return {**infos, key: values, f"_{key}": present.copy()}
