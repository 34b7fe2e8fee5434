"""Drawing the action bounds of n sub-environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance.mask_bank import BoundsBank
from llm_wrappers.wrappers._goals_below import reject_unknown_goals, vocabulary_below
from llm_wrappers.wrappers._scheduled_coin import ScheduledCoin

__all__ = ["Bounding", "make_bounds"]


class Bounding:
    """The action bounds of n sub-environments, drawn once per step; batch first.

    Args:
        n: The number of sub-environments.
        bank: Goal to bounds.
        coin: Whether the goal's bounds apply.
    """

    def __init__(self, n: int, *, bank: BoundsBank, coin: ScheduledCoin) -> None:
        goals = tuple(bank.bounds)
        self._coin = coin
        self._space = bank.action_space
        self._row_of: dict[str | None, int] = {goal: row for row, goal in enumerate(goals)}
        self._open_row = len(goals)
        # The last row belongs to no goal: it is the whole space.
        self._low, self._high = bank.arrays([*goals, ""])
        self.low, self.high = self._low[[-1] * n], self._high[[-1] * n]
        self.applied = np.zeros(n, dtype=np.bool_)
        self.counts = {"states": 0, "bounded_states": 0, "clipped_actions": 0}

    def draw(
        self,
        goals: Sequence[str | None],
        streams: Sequence[np.random.Generator],
        rows: NDArray[np.intp] | None = None,
    ) -> None:
        """Draw the bounds for the current states.

        Args:
            goals: The goals of m states, None for no guidance.
            streams: The m random generators.
            rows: Which m of the n sub-environments these are; None for all.
        """
        here = slice(None) if rows is None else rows
        wanted = np.array([self._row_of.get(goal, self._open_row) for goal in goals])
        applied = self._coin.toss(streams, rows) & (wanted != self._open_row)
        chosen = np.where(applied, wanted, self._open_row)
        self.low[here], self.high[here] = self._low[chosen], self._high[chosen]
        self.applied[here] = applied
        self.counts["states"] += len(goals)
        self.counts["bounded_states"] += int(applied.sum())

    def clip(
        self, actions: NDArray[Any], *, ignored: NDArray[np.bool_] | None = None
    ) -> NDArray[Any]:
        """Return n actions clipped to the current bounds, as fresh arrays, and count changes.

        Args:
            actions: Shape (n, *action shape).
            ignored: Where the action will not be executed and so is not counted, shape (n,).

        Raises:
            InvalidOptionError: If they are not n actions, or not of the kind of the space.
        """
        fits = actions.shape == self.low.shape
        if not fits or not np.can_cast(actions.dtype, self.low.dtype, "same_kind"):
            raise InvalidOptionError(f"expected an action in {self._space}, got {actions!r}")
        actions = actions.astype(self.low.dtype)
        clipped: NDArray[Any] = np.clip(actions, self.low, self.high)
        changed = (clipped != actions).reshape(len(actions), -1).any(axis=1)
        if ignored is not None:
            changed &= ~ignored
        self.counts["clipped_actions"] += int(changed.sum())
        return clipped


def make_bounds(env: Any, action_space: gym.Space[Any], bounds: Mapping[str, Any]) -> BoundsBank:
    """Return the bounds bank for this environment.

    Raises:
        InvalidOptionError: If a goal is not in the vocabulary below, or bounds are no bounds.
        IncompatibleEnvironmentError: If the action space is no Box.
    """
    if not isinstance(action_space, gym.spaces.Box):
        raise IncompatibleEnvironmentError(
            f"expected a Box action space, got {action_space}; use ActionMaskWrapper for it"
        )
    reject_unknown_goals(bounds, vocabulary_below(env))
    return BoundsBank(bounds, action_space)
