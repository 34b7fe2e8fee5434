"""Which actions serve which goal (SGRL)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError

__all__ = ["BoundsBank", "MaskBank", "flat_action_count", "mask_groups"]


def flat_action_count(action_space: gym.Space[Any]) -> int:
    """Return the length of a flat action mask of this space, as MaskablePPO counts it.

    Raises:
        IncompatibleEnvironmentError: If actions of this space cannot be masked.

    >>> flat_action_count(gym.spaces.MultiDiscrete([3, 2]))
    5
    """
    if isinstance(action_space, gym.spaces.Discrete):
        return int(action_space.n)
    if isinstance(action_space, gym.spaces.MultiDiscrete) and action_space.nvec.ndim == 1:
        return int(action_space.nvec.sum())
    if isinstance(action_space, gym.spaces.MultiBinary) and isinstance(action_space.n, int):
        return 2 * action_space.n
    raise IncompatibleEnvironmentError(
        "expected an action space whose actions can be masked (Discrete, MultiDiscrete or "
        f"MultiBinary of one axis) or bounded (Box), got {action_space}"
    )


class MaskBank:
    """For each goal the actions that serve it.

    A goal without an entry leaves every action open. An entry that closes everything is refused.

    Args:
        masks: Goal to the actions it leaves open: names, indices (0-based), or one boolean per
            action. For MultiDiscrete and MultiBinary spaces indices count the flat mask.
        action_space: The space of the actions.
        action_names: Names of all flat actions, needed only where `masks` uses names.

    Raises:
        InvalidOptionError: If an action is unknown or out of range, a mask has the wrong length,
            or a goal has no action left; if the names are not one per action.
        IncompatibleEnvironmentError: If actions of this space cannot be masked.

    >>> names = ["left", "right"]
    >>> bank = MaskBank({"go left": ["left"]}, gym.spaces.Discrete(2), action_names=names)
    >>> bank.matrix(["go left", "rest"])
    array([[ True, False],
           [ True,  True]])
    """

    def __init__(
        self,
        masks: Mapping[str, Sequence[int | str | bool]],
        action_space: gym.Space[Any],
        *,
        action_names: Sequence[str] = (),
    ) -> None:
        if not isinstance(masks, Mapping):
            raise InvalidOptionError(
                'expected a dict of goal -> actions, such as {"go left": [0]}, '
                f"got a {type(masks).__name__}"
            )
        self.action_space = action_space
        self.length = flat_action_count(action_space)
        self._groups = mask_groups(action_space)
        if action_names and len(action_names) != self.length:
            raise InvalidOptionError(
                f"action_names must be {self.length} names, one per action, got {action_names!r}"
            )
        self._number = {name: index for index, name in enumerate(action_names)}
        self.masks = {goal: self._row(goal, actions) for goal, actions in masks.items()}

    def matrix(self, goals: Iterable[str]) -> NDArray[np.bool_]:
        """Return the masks of these goals, shape (goals, actions)."""
        open_ = np.ones(self.length, dtype=np.bool_)
        rows = [self.masks.get(goal, open_) for goal in goals]
        return np.array(rows, dtype=np.bool_).reshape(-1, self.length)

    def usable(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which rows of flat masks leave an action in each part of the action space.

        Args:
            masks: Shape (n, actions).
        """
        usable = np.asarray(masks[:, self._groups[0]].any(axis=1))
        for group in self._groups[1:]:
            usable = usable & masks[:, group].any(axis=1)
        return usable

    def _row(self, goal: str, actions: Sequence[int | str | bool]) -> NDArray[np.bool_]:
        if isinstance(actions, np.ndarray):
            actions = actions.tolist()
        if isinstance(actions, str) or not isinstance(actions, Sequence):
            raise InvalidOptionError(
                f"the mask of goal {goal!r} must be a list of actions, got {actions!r}"
            )
        row = np.zeros(self.length, dtype=np.bool_)
        if actions and all(isinstance(action, bool) for action in actions):
            if len(actions) != self.length:
                raise InvalidOptionError(
                    f"the mask of goal {goal!r} must have {self.length} booleans, "
                    f"got {len(actions)}"
                )
            row[:] = actions
        else:
            row[[self._index(goal, action) for action in actions]] = True
        if not self.usable(row[None])[0]:
            raise InvalidOptionError(f"the mask of goal {goal!r} leaves no action open")
        return row

    def _index(self, goal: str, action: int | str | bool) -> int:
        if isinstance(action, str):
            if action not in self._number:
                known = sorted(self._number) or "none; pass indices or action_names"
                raise InvalidOptionError(
                    f"the mask of goal {goal!r} names action {action!r}; known names: {known}"
                )
            return self._number[action]
        whole = isinstance(action, int | np.integer) and not isinstance(action, bool)
        if not whole or not 0 <= action < self.length:
            raise InvalidOptionError(
                f"the mask of goal {goal!r} must hold action names or indices in "
                f"0..{self.length - 1}, got {action!r}"
            )
        return int(action)


class BoundsBank:
    """For each goal the bounds within which a continuous action serves it.

    The paper of SGRL leaves continuous actions open; clipping them to bounds is our choice.

    Args:
        bounds: Goal to (low, high), numbers or arrays of the action's shape, within the space.
        action_space: A Box.

    Raises:
        InvalidOptionError: If bounds are not two, not of the action's shape, not in order, or
            outside the space.

    >>> space = gym.spaces.Box(-2.0, 2.0, (1,))
    >>> low, high = BoundsBank({"brake": (-2.0, 0.0)}, space).arrays(["brake", "rest"])
    >>> high.ravel().tolist()
    [0.0, 2.0]
    """

    def __init__(self, bounds: Mapping[str, Sequence[Any]], action_space: gym.spaces.Box) -> None:
        if not isinstance(bounds, Mapping):
            raise InvalidOptionError(
                'expected a dict of goal -> (low, high), such as {"brake": (-2.0, 0.0)}, '
                f"got a {type(bounds).__name__}"
            )
        self.action_space = action_space
        self.bounds = {goal: self._pair(goal, pair) for goal, pair in bounds.items()}

    def arrays(self, goals: Iterable[str]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return low and high of these goals, each of shape (goals, ...)."""
        whole = (self.action_space.low, self.action_space.high)
        pairs = [self.bounds.get(goal, whole) for goal in goals]
        return np.stack([low for low, _ in pairs]), np.stack([high for _, high in pairs])

    def _pair(self, goal: str, pair: Sequence[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        space = self.action_space
        try:
            low, high = (np.broadcast_to(bound, space.shape).astype(space.dtype) for bound in pair)
        except (TypeError, ValueError) as error:
            raise InvalidOptionError(
                f"the bounds of goal {goal!r} must be (low, high) of shape {space.shape}, "
                f"got {pair!r}"
            ) from error
        inside = (space.low <= low) & (low <= high) & (high <= space.high)
        if not inside.all():
            raise InvalidOptionError(
                f"the bounds of goal {goal!r} must be in order and within {space}, got {pair!r}"
            )
        return low, high


def mask_groups(action_space: gym.Space[Any]) -> list[slice]:
    """Return the parts of a flat mask, of which each must keep an action.

    >>> mask_groups(gym.spaces.MultiDiscrete([3, 2]))
    [slice(0, 3, None), slice(3, 5, None)]
    """
    if isinstance(action_space, gym.spaces.MultiDiscrete):
        sizes = action_space.nvec.tolist()
    elif isinstance(action_space, gym.spaces.MultiBinary):
        sizes = [2] * (flat_action_count(action_space) // 2)
    else:
        sizes = [flat_action_count(action_space)]
    ends = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
