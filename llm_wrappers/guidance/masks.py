"""Which actions serve which goal (SGRL), and the action masks that an environment itself gives."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError

__all__ = [
    "BoundsBank",
    "MaskBank",
    "find_own_mask",
    "flat_action_count",
    "mask_groups",
    "read_mask",
    "read_masks",
]


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


_NAME = "action_masks"


def find_own_mask(env: gym.Env[Any, Any]) -> Callable[[], Any] | None:
    """Return what reads the action mask of an environment; None where it gives none.

    It is the attribute `action_masks` of the outermost layer that has one: a method, as sb3-contrib
    asks for, or a property. What is returned holds that layer, so that nothing is looked up again;
    it reads the mask anew at each call, in the form that the environment gives: see `read_mask`.

    Args:
        env: An environment, wrapped or not. It is not asked for a mask yet.

    >>> class Door(gym.Env):
    ...     action_masks = property(lambda self: [True, False])
    >>> find_own_mask(gym.wrappers.TimeLimit(Door(), 5))()
    [True, False]
    """
    layer: gym.Env[Any, Any] = env
    # Looked up in the class: a property that needs a reset before it can answer is there as well.
    while not _has_one(layer):
        if not isinstance(layer, gym.Wrapper):
            # A base environment may answer in its own way for what it is made of.
            answers = type(layer).has_wrapper_attr is not gym.Env.has_wrapper_attr
            return _Reader(layer) if answers and layer.has_wrapper_attr(_NAME) else None
        layer = layer.env
    return _Reader(layer)


def read_mask(value: Any, action_space: gym.Space[Any]) -> NDArray[np.bool_]:
    """Return an environment's mask as flat flags, shape (length,), True where an action is open.

    The length is that of `flat_action_count`. Taken are flags as booleans or numbers 0 and 1, in a
    list, an array or a tensor of one axis, or of shape (1, length). For a MultiDiscrete space there
    may be one list per part, or an array (parts, most actions) that is 0 behind the last action of
    each part. For MultiBinary(n) there may be n flags: which bits may be 1; all may be 0.

    A mask that closes everything is returned as it is.

    Args:
        value: What the environment gave.
        action_space: Discrete, or MultiDiscrete or MultiBinary of one axis.

    Raises:
        IncompatibleEnvironmentError: If it is in none of these forms, such as indices or logits; if
            actions of this space cannot be masked.

    >>> read_mask([1, 0, 1], gym.spaces.Discrete(3))
    array([ True, False,  True])
    >>> read_mask([[1, 0], [0, 1, 1]], gym.spaces.MultiDiscrete([2, 3]))
    array([ True, False, False,  True,  True])
    >>> read_mask([0, 2], gym.spaces.Discrete(3))
    Traceback (most recent call last):
        ...
    llm_wrappers.errors.IncompatibleEnvironmentError: expected an action mask of 3 flags, as the
    action space Discrete(3) has, got [0, 2], which look like the indices of actions; return one
    flag per action: mask = np.zeros(3, bool); mask[[0, 2]] = True
    """
    # By far the most common form.
    length = flat_action_count(action_space)
    if isinstance(value, np.ndarray) and value.shape == (length,) and _are_flags(value):
        return value.astype(np.bool_)
    form = _Form(action_space)
    parts = _parts(value, form.sizes)
    if parts is not None:
        return np.concatenate([form.flags(part) for part in parts])
    array = form.array(value)
    if array.ndim == 2 and len(array) == 1:
        array = array[0]
    if array.shape == (length,):
        return form.flags(array)
    if isinstance(action_space, gym.spaces.MultiBinary) and array.shape == (len(form.sizes),):
        may_be_one = form.flags(array)
        return np.stack([np.ones_like(may_be_one), may_be_one], axis=1).ravel()
    if array.shape == (len(form.sizes), max(form.sizes)):
        return form.unpadded(array)
    raise form.wrong_shape(array)


def read_masks(value: Any, action_space: gym.Space[Any], n: int) -> NDArray[np.bool_]:
    """Return the masks of n sub-environments as flat flags, shape (n, length).

    Args:
        value: What a vector environment gave: an array (n, length), or a list, tuple or array of n
            masks, each in one of the forms of `read_mask`.
        action_space: That of one sub-environment.
        n: The number of sub-environments.

    Raises:
        IncompatibleEnvironmentError: If there are not n masks, or one is in no such form.

    >>> read_masks([[1, 0], np.array([True, True])], gym.spaces.Discrete(2), 2)
    array([[ True, False],
           [ True,  True]])
    """
    length = flat_action_count(action_space)
    # An array of masks may be one of objects: lists, or None where a mask is missing.
    masks = value if isinstance(value, list | tuple | np.ndarray) else _array(value)
    if masks is None or getattr(masks, "ndim", 1) == 0 or len(masks) != n:
        raise IncompatibleEnvironmentError(
            f"expected {n} action masks, one per sub-environment, got {_shown(value)}; return an "
            f"array of shape ({n}, {length})"
        )
    if isinstance(masks, np.ndarray) and masks.shape == (n, length) and _are_flags(masks):
        return masks.astype(np.bool_)
    rows = []
    for number, mask in enumerate(masks):
        try:
            rows.append(read_mask(mask, action_space))
        except IncompatibleEnvironmentError as error:
            raise IncompatibleEnvironmentError(f"sub-environment {number}: {error}") from error
    return np.array(rows, dtype=np.bool_).reshape(n, length)


class _Reader:
    """Reads the attribute of one layer, which may be a method, a property or a plain value."""

    def __init__(self, layer: gym.Env[Any, Any]) -> None:
        self._layer = layer

    def __call__(self) -> Any:
        wraps = isinstance(self._layer, gym.Wrapper)
        value = getattr(self._layer, _NAME) if wraps else self._layer.get_wrapper_attr(_NAME)
        return value() if callable(value) else value


def _has_one(layer: gym.Env[Any, Any]) -> bool:
    in_class = getattr(type(layer), _NAME, None) is not None
    return in_class or vars(layer).get(_NAME) is not None


class _Form:
    """What a mask of one action space must look like, and what is said where it does not."""

    def __init__(self, action_space: gym.Space[Any]) -> None:
        self.space = action_space
        self.length = flat_action_count(action_space)
        self.sizes = [group.stop - group.start for group in mask_groups(action_space)]

    def array(self, value: Any) -> NDArray[Any]:
        """Return a mask as an array of numbers or booleans."""
        if value is None:
            advice = f"return np.ones({self.length}, bool) where every action is open"
            raise self._wrong(_shown(value), advice)
        array = _array(value)
        if array is None or array.dtype.kind not in "biuf":
            raise self._wrong(_shown(value), self._advice())
        return array

    def flags(self, value: Any) -> NDArray[np.bool_]:
        """Return numbers 0 and 1 as booleans."""
        array = self.array(value)
        if _are_flags(array):
            return array.astype(np.bool_)
        self._refuse_indices(array)
        if np.isnan(array).any():
            raise self._wrong(f"NaN in {_shown(array)}", "return True or False for each action")
        if (array < 0).any():
            raise self._wrong(
                f"{_shown(array)}, which look like logits",
                "return where they are finite: np.isfinite(logits)",
            )
        raise self._wrong(_shown(array), "return booleans, or the numbers 0 and 1")

    def unpadded(self, array: NDArray[Any]) -> NDArray[np.bool_]:
        """Return the flags of an array (parts, most actions), without what fills it up."""
        rows = self.flags(array)
        behind = [row[size:].any() for row, size in zip(rows, self.sizes, strict=True)]
        if any(behind):
            part = behind.index(True)
            raise self._wrong(
                f"{_shown(array)}, which is not 0 behind the {self.sizes[part]} actions of part "
                f"{part}",
                self._advice(),
            )
        return np.concatenate([row[:size] for row, size in zip(rows, self.sizes, strict=True)])

    def wrong_shape(self, array: NDArray[Any]) -> IncompatibleEnvironmentError:
        """Return what is said of an array of a shape that no mask has."""
        self._refuse_indices(array)
        return self._wrong(f"an array of shape {array.shape}", self._advice())

    def _refuse_indices(self, array: NDArray[Any]) -> None:
        distinct = array.ndim == 1 and len(set(array.tolist())) == array.size > 0
        if distinct and array.dtype.kind in "iu" and 0 <= array.min() <= array.max() < self.length:
            numbers = array.tolist()
            raise self._wrong(
                f"{numbers}, which look like the indices of actions",
                f"return one flag per action: mask = np.zeros({self.length}, bool); "
                f"mask[{numbers}] = True",
            )

    def _wrong(self, got: str, advice: str) -> IncompatibleEnvironmentError:
        return IncompatibleEnvironmentError(
            f"expected an action mask of {self.length} flags, as the action space {self.space} "
            f"has, got {got}; {advice}"
        )

    def _advice(self) -> str:
        if isinstance(self.space, gym.spaces.MultiDiscrete):
            return f"return {self.length} flags, or one list per part, of lengths {self.sizes}"
        if isinstance(self.space, gym.spaces.MultiBinary):
            bits = len(self.sizes)
            return (
                f"return {self.length} flags, two per bit (it may be 0, it may be 1), or {bits}, "
                "one per bit (it may be 1)"
            )
        return f"return {self.length} flags, one per action, True where it is open"


def _parts(value: Any, sizes: Sequence[int]) -> Sequence[Any] | None:
    """Return one list of flags per part of the action space, where that is what was given."""
    listed = isinstance(value, list | tuple) or (
        isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1
    )
    if not listed or len(value) != len(sizes):
        return None
    arrays = [_array(part) for part in value]
    shapes = [None if array is None else array.shape for array in arrays]
    return value if shapes == [(size,) for size in sizes] else None


def _array(value: Any) -> NDArray[Any] | None:
    """Return what NumPy makes of a value; None where it makes nothing of it."""
    try:
        array = np.asarray(value)
        # Numbers in an array of objects are numbers.
        return np.array(array.tolist()) if array.dtype == object else array
    except (TypeError, ValueError, RuntimeError):
        return None


def _are_flags(array: NDArray[Any]) -> bool:
    if array.dtype.kind == "b":
        return True
    return array.dtype.kind in "iuf" and bool(((array == 0) | (array == 1)).all())


def _shown(value: Any) -> str:
    if value is None:
        return "None"
    plain = value.tolist() if isinstance(value, np.ndarray) else value
    return reprlib.repr(plain) if isinstance(plain, list | tuple) else f"a {type(value).__name__}"
