"""Rows of batched observations, infos and facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import concatenate, create_empty_array, iterate
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Facts
from llm_wrappers.captions.facts_table import FactsTable

__all__ = [
    "batch_of_one",
    "facts_of",
    "final_observations",
    "listed_actions",
    "take_rows",
    "with_column",
    "with_rows",
]


def batch_of_one(space: gym.Space[Any], observation: Any) -> Any:
    """Return one observation as a batch with a leading axis of 1, arrays as views."""
    if isinstance(observation, np.ndarray):
        return observation[None]
    # Gymnasium's own way, below, is many times slower for the spaces that are met most.
    if isinstance(space, gym.spaces.Discrete):
        return np.array([observation], dtype=space.dtype)
    if isinstance(space, gym.spaces.Tuple):
        return tuple(map(batch_of_one, space.spaces, observation))
    if isinstance(space, gym.spaces.Dict):
        return {key: batch_of_one(part, observation[key]) for key, part in space.spaces.items()}
    batch: Any = create_empty_array(space, n=1, fn=np.zeros)
    return concatenate(space, [observation], batch)


def take_rows(batch: Any, rows: NDArray[np.intp]) -> Any:
    """Return some rows of batched observations or infos, of any structure.

    Args:
        batch: An array, a dict or tuple of such, or a tuple of texts.
        rows: Which rows.

    >>> take_rows(("go left", "go right", "wait"), np.array([2, 0]))
    ('wait', 'go left')
    """
    if isinstance(batch, Mapping):
        return {key: take_rows(value, rows) for key, value in batch.items()}
    if isinstance(batch, tuple):
        if batch and isinstance(batch[0], str):
            # Texts have no array to be batched in: one row each, and not one part of a Tuple.
            return tuple(batch[row] for row in rows.tolist())
        return tuple(take_rows(value, rows) for value in batch)
    return np.asarray(batch)[rows]


def final_observations(
    infos: Mapping[str, Any], space: gym.Space[Any], rows: NDArray[np.intp]
) -> Any:
    """Return the last observations of the episodes that ended, batched along the first axis."""
    final = [infos["final_obs"][row] for row in rows]
    batch: Any = create_empty_array(space, n=len(rows), fn=np.zeros)
    return concatenate(space, final, batch)


def listed_actions(space: gym.Space[Any], actions: Any) -> Sequence[Any]:
    """Return n actions one by one.

    Args:
        space: The batched action space.
        actions: A batch of n actions, as the vector environment takes them.
    """
    if isinstance(space, gym.spaces.MultiDiscrete | gym.spaces.Discrete):
        listed: list[Any] = np.asarray(actions).tolist()
        return listed
    return list(iterate(space, actions))


def facts_of(facts: Sequence[Facts], rows: NDArray[np.intp]) -> Sequence[Facts]:
    """Return the facts of some sub-environments; of all of them the very object."""
    if len(rows) == len(facts):
        return facts
    if isinstance(facts, FactsTable):
        return FactsTable(facts.columns, facts.matrix[rows])
    return [facts[row] for row in rows.tolist()]


def with_rows(
    facts: Sequence[Facts], rows: NDArray[np.intp], changed: Sequence[Facts]
) -> Sequence[Facts]:
    """Return the facts of n sub-environments with some of them exchanged.

    Args:
        facts: Of all n, left as they are.
        rows: Which of them are exchanged.
        changed: Their new facts, in the order of `rows`.
    """
    if _is_table_like(facts, changed):
        matrix = facts.matrix.copy()  # type: ignore[attr-defined]
        matrix[rows] = changed.matrix  # type: ignore[attr-defined]
        return FactsTable(facts.columns, matrix)  # type: ignore[attr-defined]
    merged = list(facts)
    for row, new in zip(rows.tolist(), changed, strict=True):
        merged[row] = new
    return merged


def _is_table_like(facts: Sequence[Facts], changed: Sequence[Facts]) -> bool:
    return (
        isinstance(facts, FactsTable)
        and isinstance(changed, FactsTable)
        and facts.columns == changed.columns
    )


def with_column(
    infos: dict[str, Any], key: str, values: NDArray[Any], present: NDArray[np.bool_] | None
) -> None:
    """Add one more entry and its mask to infos.

    Args:
        infos: The infos, changed in place.
        key: The name of the entry.
        values: Shape (n, ...), copied.
        present: Which sub-environments have the entry, shape (n,); None for all.
    """
    values = values.copy()
    if present is None:
        infos[f"_{key}"] = np.ones(len(values), dtype=np.bool_)
    else:
        # What gymnasium.vector puts where there is no entry.
        values[~present] = None if values.dtype == object else 0
        infos[f"_{key}"] = present.copy()
    infos[key] = values
