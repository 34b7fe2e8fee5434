"""How important each step is by a selector, whether it tells so itself or only picks some."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.critical.selector import Selector
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["importances_of"]


def importances_of(
    selector: Selector, trajectories: Sequence[Trajectory], *, per_episode: int
) -> list[NDArray[np.float64]]:
    """Return how important each step is, one array of shape (T,) per episode.

    A selector with a method ``importances(trajectories)`` is asked that. One without, such as a
    language model, is asked for moments: a step has the importance of its moment, and 0 where it
    was not picked, which is our choice.

    Args:
        selector: The selector.
        trajectories: The episodes.
        per_episode: How many moments it is asked for.

    Raises:
        InvalidOptionError: If the answer does not fit the episodes.

    >>> from llm_wrappers.guidance.critical.moment import CriticalMoment
    >>> class Second:
    ...     def select(self, trajectories, *, per_episode):
    ...         return [CriticalMoment(0, 1, importance=0.5)]
    >>> episode = Trajectory(np.zeros((4, 2)), np.zeros(3), np.ones(3), True, False)
    >>> importances_of(Second(), [episode], per_episode=1)
    [array([0. , 0.5, 0. ])]
    """
    method = getattr(selector, "importances", None)
    if method is None:
        return _from_moments(selector, trajectories, per_episode)
    rows = [np.asarray(row, dtype=np.float64) for row in method(trajectories)]
    lengths = [(len(trajectory),) for trajectory in trajectories]
    if [row.shape for row in rows] != lengths or not all(np.isfinite(row).all() for row in rows):
        raise InvalidOptionError(
            f"expected importances() of {type(selector).__name__} to return one array of finite "
            f"numbers per episode, of shapes {lengths}, got {[row.shape for row in rows]}"
        )
    return rows


def _from_moments(
    selector: Selector, trajectories: Sequence[Trajectory], per_episode: int
) -> list[NDArray[np.float64]]:
    rows = [np.zeros(len(trajectory)) for trajectory in trajectories]
    for moment in selector.select(trajectories, per_episode=per_episode):
        if moment.episode >= len(rows) or moment.step >= len(rows[moment.episode]):
            raise InvalidOptionError(
                f"{type(selector).__name__} picked step {moment.step} of episode {moment.episode}, "
                f"which is not among the {len(rows)} episodes; check what it was given"
            )
        rows[moment.episode][moment.step] = moment.importance
    return rows
