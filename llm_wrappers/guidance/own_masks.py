"""The action masks that an environment itself gives, in the forms that people write them."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.guidance.mask_bank import flat_action_count, mask_groups

__all__ = ["find_own_mask", "read_mask", "read_masks"]

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
