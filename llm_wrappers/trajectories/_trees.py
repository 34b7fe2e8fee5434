"""Nested observations and actions: dicts and tuples whose leaves are arrays over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np

from llm_wrappers.errors import IncompatibleEnvironmentError

__all__ = [
    "Tree",
    "check_space",
    "copied",
    "leaves",
    "map_leaves",
    "rebuilt",
    "shape_of",
    "stacked",
]

Tree: TypeAlias = "np.ndarray[Any, Any] | Mapping[str, Tree] | tuple[Tree, ...]"

_DISCRETE = (gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)
_LEAVES = (*_DISCRETE, gym.spaces.Box, gym.spaces.Text)


def check_space(space: gym.Space[Any], what: str) -> None:
    """Refuse a space whose values are no arrays of one shape.

    Args:
        space: The space of one observation or action.
        what: What it is the space of, for the message.

    Raises:
        IncompatibleEnvironmentError: If it has parts other than Box, Discrete, MultiDiscrete,
            MultiBinary, Text, and Dict and Tuple of these.
    """
    if isinstance(space, gym.spaces.Dict):
        parts: Sequence[gym.Space[Any]] = list(space.spaces.values())
    elif isinstance(space, gym.spaces.Tuple):
        parts = space.spaces
    elif isinstance(space, _LEAVES):
        return
    else:
        raise IncompatibleEnvironmentError(
            f"expected {what} of Box, Discrete, MultiDiscrete, MultiBinary or Text, or a Dict or "
            f"Tuple of these, got {space}; change it with a wrapper below the recorder"
        )
    for part in parts:
        check_space(part, what)


def copied(value: Any) -> Any:
    """Return one observation or action that shares no memory with the environment's.

    >>> copied({"a": (np.zeros(2), 3)})
    {'a': (array([0., 0.]), 3)}
    """
    if type(value) is int:  # Most actions are such, at each step.
        return value
    if isinstance(value, np.ndarray | list):
        return np.array(value)
    if isinstance(value, Mapping):
        return {key: copied(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(copied(part) for part in value)
    return value


def stacked(space: gym.Space[Any], values: Sequence[Any]) -> Tree:
    """Return values of a space one after the other, as arrays with a leading axis of time.

    Args:
        space: The space of one value. Discrete parts take its dtype; others keep their own, so
            that no bit is lost where an environment returns another one than it says.
        values: At least one.

    >>> stacked(gym.spaces.Tuple([gym.spaces.Discrete(4), gym.spaces.Box(0, 1)]), [
    ...     (1, np.array([0.5], np.float32)), (2, np.array([0.25], np.float32))
    ... ])
    (array([1, 2]), array([[0.5 ], [0.25]], dtype=float32))
    """
    if isinstance(space, gym.spaces.Dict):
        return {
            key: stacked(part, [value[key] for value in values])
            for key, part in space.spaces.items()
        }
    if isinstance(space, gym.spaces.Tuple):
        parts = enumerate(space.spaces)
        return tuple(stacked(part, [value[index] for value in values]) for index, part in parts)
    return np.array(values, dtype=space.dtype if isinstance(space, _DISCRETE) else None)


def leaves(tree: Tree) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the arrays of a tree, in the order in which `rebuilt` takes them."""
    if isinstance(tree, Mapping):
        for part in tree.values():
            yield from leaves(part)
    elif isinstance(tree, tuple):
        for part in tree:
            yield from leaves(part)
    else:
        yield tree


def map_leaves(tree: Tree, change: Callable[[Any], np.ndarray[Any, Any]]) -> Tree:
    """Return a tree of the same form with each leaf changed, and the keys of dicts sorted.

    >>> map_leaves({"a": (np.arange(3), np.arange(3) * 2)}, lambda leaf: leaf[1:])
    {'a': (array([1, 2]), array([2, 4]))}
    """
    if isinstance(tree, Mapping):
        return {key: map_leaves(tree[key], change) for key in sorted(tree)}
    if isinstance(tree, tuple):
        return tuple(map_leaves(part, change) for part in tree)
    return change(tree)


def shape_of(tree: Tree) -> Any:
    """Return the form of a tree without its arrays, as JSON: None is a leaf, a list is a tuple.

    >>> shape_of({"a": (np.zeros(1), np.zeros(1))})
    {'a': [None, None]}
    """
    if isinstance(tree, Mapping):
        return {key: shape_of(part) for key, part in tree.items()}
    if isinstance(tree, tuple):
        return [shape_of(part) for part in tree]
    return None


def rebuilt(shape: Any, arrays: Iterator[np.ndarray[Any, Any]]) -> Tree:
    """Return the tree that `shape_of` and `leaves` were taken from.

    >>> tree = {"a": (np.zeros(1), np.ones(1))}
    >>> rebuilt(shape_of(tree), leaves(tree))
    {'a': (array([0.]), array([1.]))}
    """
    if isinstance(shape, dict):
        return {key: rebuilt(part, arrays) for key, part in shape.items()}
    if isinstance(shape, list):
        return tuple(rebuilt(part, arrays) for part in shape)
    return next(arrays)
