"""Which actions the masks of a whole stack leave open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.masks import MaskBank, find_own_mask, read_mask, read_masks
from llm_wrappers.wrappers._layers import find_below

__all__ = ["OpenActions", "OpenBounds", "is_maskable"]


def is_maskable(space: gym.Space[Any]) -> bool:
    """Return whether actions of this space can be masked."""
    kinds = gym.spaces.Discrete | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary
    return isinstance(space, kinds)


class OpenActions:
    """What the environment and the layers of a stack leave open in n states, True where open.

    Each step begins with the environment's own mask, and each layer closes more, from the inside
    out. It is never empty: a mask that would close everything that is left is left out. Advice
    holds where that much is open, and closes all but one action of a Discrete space.
    """

    def __init__(self, n: int, space: gym.Space[Any], env: Any, *, is_single: bool) -> None:
        self.space = space
        self.bank = MaskBank({}, space)
        self.masks = np.ones((n, self.bank.length), dtype=np.bool_)
        self.empty = 0
        """How many of the environment's own masks closed everything in this step."""
        self._n = n
        self._advised = np.full(n, -1, dtype=np.intp)
        self._is_advised = False
        self._sizes, self._start = _parts_of(space)
        # Where in a flat mask the first value of each part stands.
        self._offsets = np.concatenate([[0], np.cumsum(self._sizes)[:-1]]).astype(np.int64)
        self._reads_info = env is not None
        self._is_single = is_single
        self._source: Callable[[], Any] | None = None
        if env is not None:
            self._source = find_own_mask(env) if is_single else find_below(env, "action_masks")

    def refresh(self, infos: Mapping[str, Any], rows: NDArray[np.intp] | None = None) -> None:
        """Begin a step with what the environment leaves open."""
        here: Any = slice(None) if rows is None else rows
        own = self._own(infos)
        if self._is_advised:
            self._advised[here] = -1
            self._is_advised = bool((self._advised >= 0).any())
        self.empty = 0
        if own is None:
            self.masks[here] = True
            return
        usable = self.bank.usable(own)
        self.empty = int((~usable[here]).sum())
        own[~usable] = True
        self.masks[here] = own[here]

    def _own(self, infos: Mapping[str, Any]) -> NDArray[np.bool_] | None:
        if self._source is not None:
            return self.read(self._source())
        if not self._reads_info or "action_mask" not in infos:
            return None
        if self._is_single:
            return self.read(infos["action_mask"])
        present = np.asarray(infos.get("_action_mask", True))
        masks = np.ones_like(self.masks)
        rows = np.flatnonzero(np.broadcast_to(present, (self._n,)))
        for row in rows.tolist():
            masks[row] = read_mask(infos["action_mask"][row], self.space)
        return masks

    def read(self, masks: Any) -> NDArray[np.bool_]:
        """Return what somebody's `action_masks` returned for all n states, shape (n, actions)."""
        if self._is_single:
            return read_mask(masks, self.space)[None]
        return read_masks(masks, self.space, self._n)

    def close(self, masks: NDArray[np.bool_], rows: NDArray[np.intp] | None = None) -> int:
        """Leave open only what these masks, of some states, leave open too.

        Returns:
            How many would close everything, and are left out.
        """
        here: Any = slice(None) if rows is None or len(rows) == self._n else rows
        before = self.masks[here]
        both = before & masks
        usable = self.bank.usable(both)
        if np.count_nonzero(usable) == len(usable):
            self.masks[here] = both
            return 0
        self.masks[here] = np.where(usable[:, None], both, before)
        return int((~usable).sum())

    def advise(self, actions: NDArray[Any], rows: NDArray[np.intp]) -> None:
        """Leave only one Discrete action open in some states, where nobody did so already."""
        if len(rows):
            self._is_advised = True
            free = self._advised[rows] < 0
            self._advised[rows[free]] = self._indices(actions)[free, 0]

    def forget_advice(self) -> None:
        """Open what advice has closed."""
        self._advised[:] = -1

    def now(self) -> NDArray[np.bool_]:
        """Return fresh masks, shape (n, actions)."""
        masks = self.masks.copy()
        if self._is_advised:
            rows = np.flatnonzero(self._advised >= 0)
            advised = self._advised[rows]
            open_too = masks[rows, advised]
            rows, advised = rows[open_too], advised[open_too]
            masks[rows] = False
            masks[rows, advised] = True
        return masks

    def allows(
        self, actions: NDArray[Any], rows: NDArray[np.intp], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.bool_]:
        """Return whether an action is open in some states, or in other masks, shape (m,)."""
        masks = self.masks if masks is None else masks
        chosen = self._indices(actions)
        if len(self._sizes) == 1:
            return np.asarray(masks[rows, chosen[:, 0]])
        return np.asarray(masks[rows[:, None], chosen].all(axis=1))

    def open_action(self, row: int, action: Any, stream: np.random.Generator) -> Any:
        """Return an action that the masks leave open in one state.

        The parts of the action that are open stay; each other one is drawn uniformly. Where advice
        leaves one action only, it is that one.
        """
        mask = self.now()[row]
        if isinstance(self.space, gym.spaces.Discrete):
            return self.space.start + stream.choice(np.flatnonzero(mask))
        parts = np.split(mask, self._offsets[1:])
        wanted = (self._indices(np.asarray(action)[None])[0] - self._offsets).tolist()
        chosen = [
            value if part[value] else stream.choice(np.flatnonzero(part))
            for value, part in zip(wanted, parts, strict=True)
        ]
        return (np.array(chosen) + self._start).astype(self.space.dtype)

    def _indices(self, actions: NDArray[Any]) -> NDArray[np.int64]:
        """Return where in a flat mask m actions stand, shape (m, parts of an action)."""
        parts = np.asarray(actions)
        if parts.dtype.kind == "f" and isinstance(self.space, gym.spaces.MultiBinary):
            # Stable-Baselines3 gives bits as floats.
            bits = parts.astype(np.int8)
            parts = bits if np.array_equal(bits, parts) else parts
        whole = parts.dtype.kind in "iub" and parts.size == len(parts) * len(self._sizes)
        if whole:
            parts = parts.reshape(len(parts), len(self._sizes)) - self._start
        if not whole or np.count_nonzero((parts < 0) | (parts >= self._sizes)):
            raise InvalidOptionError(f"expected an action in {self.space}, got {actions!r}")
        return np.asarray(parts + self._offsets, dtype=np.int64)


def _parts_of(space: gym.Space[Any]) -> tuple[NDArray[Any], Any]:
    """Return how many values each part of an action has, and its smallest ones."""
    if isinstance(space, gym.spaces.Discrete):
        return np.array([space.n]), space.start
    if isinstance(space, gym.spaces.MultiDiscrete):
        return space.nvec, space.start
    return np.full(space.shape or (), 2), 0


class OpenBounds:
    """What the layers of a stack leave open of a Box in n states; the counterpart for bounds."""

    def __init__(self, n: int, space: gym.spaces.Box) -> None:
        self.space = space
        self.low = np.repeat(space.low[None], n, axis=0)
        self.high = np.repeat(space.high[None], n, axis=0)
        self._is_whole = True

    def refresh(self, infos: Mapping[str, Any], rows: NDArray[np.intp] | None = None) -> None:
        """Begin a step with the whole space."""
        if not self._is_whole:
            here: Any = slice(None) if rows is None else rows
            self.low[here], self.high[here] = self.space.low, self.space.high
            self._is_whole = rows is None

    def close(self, low: NDArray[Any], high: NDArray[Any], rows: NDArray[np.intp]) -> None:
        """Leave open only what these bounds, of some states, leave open too, where any is left."""
        self._is_whole = False
        here: Any = slice(None) if len(rows) == len(self.low) else rows
        lows, highs = np.maximum(self.low[here], low), np.minimum(self.high[here], high)
        fits = lows <= highs
        if np.count_nonzero(fits) < fits.size:
            kept = _all_parts(fits)
            here, lows, highs = rows[kept], lows[kept], highs[kept]
        self.low[here], self.high[here] = lows, highs

    def allows(self, actions: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return whether an action is within the bounds of each of some states, shape (m,)."""
        return _all_parts((self.low[rows] <= actions) & (actions <= self.high[rows]))


def _all_parts(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(flags.reshape(len(flags), -1).all(axis=1))
