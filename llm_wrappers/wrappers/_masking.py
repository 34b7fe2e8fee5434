"""Drawing the action masks of n sub-environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance.mask_bank import MaskBank
from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers._scheduled_coin import ScheduledCoin

__all__ = ["ENFORCE", "Masking", "checked_enforce", "checked_penalty", "scheduled_coin"]

ENFORCE = ("mask", "resample", "penalty")


class Masking:
    """The masks of n sub-environments, drawn once per step; batch first.

    Args:
        n: The number of sub-environments.
        bank: Goal to actions.
        coin: Whether the goal's mask applies.
    """

    def __init__(self, n: int, *, bank: MaskBank, coin: ScheduledCoin) -> None:
        goals = tuple(bank.masks)
        self._bank = bank
        self._coin = coin
        self._row_of = {goal: row for row, goal in enumerate(goals)}
        self._open_row = len(goals)
        # The last row, of a goal without an entry, leaves everything open.
        self._matrix = np.concatenate(
            [bank.matrix(goals), np.ones((1, bank.length), dtype=np.bool_)]
            if goals
            else [np.ones((1, bank.length), dtype=np.bool_)]
        )
        self.masks = np.ones((n, bank.length), dtype=np.bool_)
        self.applied = np.zeros(n, dtype=np.bool_)
        self.counts = {
            "states": 0,
            "masked_states": 0,
            "open_actions": 0,
            "empty_intersections": 0,
            "empty_inner_masks": 0,
            "forbidden_actions": 0,
        }

    def draw(
        self,
        goals: Sequence[str | None],
        inner: NDArray[np.bool_] | None,
        streams: Sequence[np.random.Generator],
        rows: NDArray[np.intp] | None = None,
    ) -> None:
        """Draw the masks for the current states.

        The goal's mask is combined with the mask of the layers below. If nothing is left, the one
        below holds alone; if that leaves nothing either, everything is open. Both are counted.

        Args:
            goals: The goals of m states, None for no guidance.
            inner: The masks of the layers below, shape (m, actions), or None.
            streams: The m random generators.
            rows: Which m of the n sub-environments these are; None for all.
        """
        here = slice(None) if rows is None else rows
        row_of, open_row = self._row_of, self._open_row
        wanted = np.array([row_of.get(goal, open_row) for goal in goals])  # type: ignore[arg-type]
        applied = self._coin.toss(streams, rows) & (wanted != open_row)
        masks = self._matrix[np.where(applied, wanted, open_row)]
        if inner is not None:
            masks = self._combined(masks, np.asarray(inner, dtype=np.bool_))
        self.masks[here] = masks
        self.applied[here] = applied
        self.counts["states"] += len(goals)
        self.counts["masked_states"] += int(applied.sum())
        self.counts["open_actions"] += int(masks.sum())

    def _combined(self, masks: NDArray[np.bool_], inner: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if inner.shape != masks.shape:
            raise IncompatibleEnvironmentError(
                f"the action_masks() below returns {inner.shape[-1]} flags per sub-environment; "
                f"this action space needs {masks.shape[-1]}"
            )
        usable = self._bank.usable(inner)
        self.counts["empty_inner_masks"] += int((~usable).sum())
        inner = inner | ~usable[:, None]
        both = masks & inner
        usable = self._bank.usable(both)
        self.counts["empty_intersections"] += int((~usable).sum())
        return np.where(usable[:, None], both, inner)

    def allowed(
        self, actions: NDArray[Any], *, ignored: NDArray[np.bool_] | None = None
    ) -> NDArray[np.bool_]:
        """Return which of n actions the current masks leave open, and count the others.

        Args:
            actions: Shape (n, ...).
            ignored: Where the action will not be executed and so counts as open, shape (n,).
        """
        chosen = flat_indices(self._bank.action_space, actions)
        open_parts = np.take_along_axis(self.masks, chosen, axis=1)
        allowed = np.asarray(open_parts.all(axis=1))
        if ignored is not None:
            allowed = np.asarray(allowed | ignored)
        self.counts["forbidden_actions"] += int((~allowed).sum())
        return allowed

    def stats(self) -> dict[str, Any]:
        """Return the counters with the shares that follow from them, and xi."""
        states = max(self.counts["states"], 1)
        return {
            **self.counts,
            **self._coin.stats(),
            "masked_share": self.counts["masked_states"] / states,
            "open_share": self.counts["open_actions"] / (states * self.masks.shape[1]),
        }

    def legal_action(self, row: int, action: Any, stream: np.random.Generator) -> Any:
        """Return an action that the mask of one sub-environment leaves open.

        The parts of the action that are open stay; each other one is drawn uniformly.
        """
        space = self._bank.action_space
        mask = self.masks[row]
        if isinstance(space, gym.spaces.Discrete):
            return space.start + stream.choice(np.flatnonzero(mask))
        sizes, start = _parts_of(space)
        parts = np.split(mask, np.cumsum(sizes)[:-1])
        wanted = (np.asarray(action) - start).tolist()
        legal = [
            value if part[value] else stream.choice(np.flatnonzero(part))
            for value, part in zip(wanted, parts, strict=True)
        ]
        return (np.array(legal) + start).astype(space.dtype)


def flat_indices(space: gym.Space[Any], actions: NDArray[Any]) -> NDArray[np.int64]:
    """Return where in a flat mask n actions stand, shape (n, parts of an action).

    Raises:
        InvalidOptionError: If an action is outside the space.
    """
    sizes, start = _parts_of(space)
    parts = np.asarray(actions)
    parts = parts.reshape(len(parts), -1)
    whole = parts.dtype.kind in "iub" and parts.shape[1] == len(sizes)
    if whole:
        parts = parts - start
    if not whole or ((parts < 0) | (parts >= sizes)).any():
        raise InvalidOptionError(f"expected an action in {space}, got {actions!r}")
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return np.asarray(parts + offsets, dtype=np.int64)


def _parts_of(space: gym.Space[Any]) -> tuple[NDArray[Any], Any]:
    """Return how many values each part of an action has, and its smallest ones."""
    if isinstance(space, gym.spaces.Discrete):
        return np.array([space.n]), space.start
    if isinstance(space, gym.spaces.MultiDiscrete):
        return space.nvec, space.start
    return np.full(space.shape or (), 2), 0


def checked_enforce(enforce: str) -> str:
    """Return the way masks are enforced, or say which there are."""
    if enforce not in ENFORCE:
        raise InvalidOptionError(f"enforce must be one of {ENFORCE}, got {enforce!r}")
    return enforce


def checked_penalty(penalty: float) -> float:
    """Return the penalty, or say what it must be."""
    number = isinstance(penalty, int | float) and not isinstance(penalty, bool)
    if not number or not 0.0 <= penalty < float("inf"):
        raise InvalidOptionError(f"penalty must be a finite number >= 0, got {penalty!r}")
    return float(penalty)


def scheduled_coin(
    schedule: float | Mapping[str, Any] | Schedule, enforce: str, n: int = 1
) -> ScheduledCoin:
    """Return the coin of a mask.

    Args:
        schedule: What `resolve_trusted` takes.
        enforce: How the mask is enforced.
        n: The number of sub-environments.

    Raises:
        InvalidOptionError: If the schedule is none, or adapts to masks that change no episode.
    """
    coin = ScheduledCoin(schedule, n)
    if enforce == "penalty":
        coin.refuse_trust(
            'with enforce="penalty" episodes with and without masks pay the same, because the mask '
            'is not executed; use "mask" or "resample"'
        )
    return coin
