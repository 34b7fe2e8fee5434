"""What happened in one episode, as data: arrays nested as spaces are, and words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError

__all__ = [
    "Trajectory",
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


_FACT_TYPES = (bool, int, float, str, type(None))


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One episode: what was observed, done and paid, and what it means in words.

    T is the number of steps. Observations and actions of Dict and Tuple spaces are dicts and tuples
    of arrays, nested as the space is. All arrays are read-only.

    Two trajectories are equal where every bit of every array and all of the rest is.

    Args:
        observations: Shape (T + 1, ...): the first is from the reset, the last ended the episode.
        actions: The actions that were executed, shape (T, ...).
        rewards: The rewards of the environment itself, shape (T,); kept as float64.
        terminated: Whether the last step reached an end of the task.
        truncated: Whether the last step was cut off, by a time limit for example.
        captions: T + 1 sentences, one for each state; None where none were made.
        transition_captions: T texts, what each action did; None where none were made.
        facts: T + 1 flat mappings of the structured state; None where there are none.
        seed: The seed of the episode's reset; None where it was not seeded itself.
        metadata: Anything else that JSON can hold; tuples become lists.

    Raises:
        InvalidOptionError: If the lengths do not fit each other, an array holds Python objects, a
            fact is no plain value, or the metadata are no JSON.

    >>> trajectory = Trajectory(
    ...     observations=np.zeros((3, 4)), actions=np.array([0, 1]), rewards=[0.0, 1.0],
    ...     terminated=True, truncated=False,
    ... )
    >>> len(trajectory), trajectory.returns
    (2, array([1., 1.]))
    """

    observations: Any
    actions: Any
    rewards: Any
    terminated: bool
    truncated: bool
    captions: Sequence[str] | None = None
    transition_captions: Sequence[str] | None = None
    facts: Sequence[Mapping[str, Any]] | None = None
    seed: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rewards = _read_only(np.asarray(self.rewards, dtype=np.float64))
        if rewards.ndim != 1 or not len(rewards):
            raise InvalidOptionError(
                f"rewards must have shape (T,) with at least one step, got {rewards.shape}"
            )
        steps = len(rewards)
        values: dict[str, Any] = {
            "rewards": rewards,
            "observations": _arrays("observations", self.observations, steps + 1),
            "actions": _arrays("actions", self.actions, steps),
            "terminated": bool(self.terminated),
            "truncated": bool(self.truncated),
            "captions": _texts("captions", self.captions, steps + 1),
            "transition_captions": _texts("transition_captions", self.transition_captions, steps),
            "facts": _plain_facts(self.facts, steps + 1),
            "seed": None if self.seed is None else int(self.seed),
            "metadata": _plain_metadata(self.metadata),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.rewards)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trajectory):
            return NotImplemented
        return self.text() == other.text() and all(
            (one.dtype, one.shape, one.tobytes()) == (two.dtype, two.shape, two.tobytes())
            for one, two in zip(self.arrays().values(), other.arrays().values(), strict=True)
        )

    @property
    def returns(self) -> NDArray[np.float64]:
        """What each step and all after it paid, without a discount, shape (T,).

        The first number is the return of the episode.
        """
        sums: NDArray[np.float64] = np.cumsum(self.rewards[::-1])[::-1]
        return sums

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays by name: ``rewards``, ``observations.0``, ..., ``actions.0``, ..."""
        trees = {"observations": self.observations, "actions": self.actions}
        named = {
            f"{name}.{index}": leaf
            for name, tree in trees.items()
            for index, leaf in enumerate(leaves(tree))
        }
        return {"rewards": self.rewards, **named}

    def text(self) -> str:
        """Return everything that is not in `arrays`, as JSON, the form of these included."""
        return json.dumps(
            {
                "steps": len(self),
                "terminated": self.terminated,
                "truncated": self.truncated,
                "seed": self.seed,
                "metadata": self.metadata,
                "observations": shape_of(self.observations),
                "actions": shape_of(self.actions),
                "captions": self.captions,
                "transition_captions": self.transition_captions,
                "facts": self.facts,
            }
        )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _arrays(name: str, tree: Tree, length: int) -> Tree:
    def checked(leaf: Any) -> NDArray[Any]:
        array = np.asarray(leaf)
        if array.dtype.hasobject or array.ndim == 0 or len(array) != length:
            raise InvalidOptionError(
                f"{name} must be plain arrays of {length} rows, got {array.dtype} of shape "
                f"{array.shape}; there is one action per reward and one observation more"
            )
        return _read_only(array)

    found = map_leaves(tree, checked)
    if next(leaves(found), None) is None:
        raise InvalidOptionError(f"{name} must have at least one array, got {tree!r}")
    return found


def _texts(name: str, texts: Any, length: int) -> tuple[str, ...] | None:
    if texts is None:
        return None
    found = tuple(texts)
    if isinstance(texts, str) or len(found) != length or not all(isinstance(t, str) for t in found):
        raise InvalidOptionError(f"{name} must be {length} texts, got {_shortened(texts)}")
    return tuple(map(str, found))


def _plain_facts(facts: Any, length: int) -> tuple[dict[str, Any], ...] | None:
    if facts is None:
        return None
    rows = tuple(facts)
    if len(rows) != length or not all(isinstance(row, Mapping) for row in rows):
        raise InvalidOptionError(f"facts must be {length} mappings, got {_shortened(facts)}")
    return tuple(
        {str(name): _plain_fact(name, value) for name, value in row.items()} for row in rows
    )


def _plain_fact(name: Any, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple | list) and all(isinstance(part, str) for part in value):
        return tuple(map(str, value))
    if isinstance(value, _FACT_TYPES):
        return value
    raise InvalidOptionError(
        f"the fact {name!r} must be a bool, number, text, tuple of texts or None, got {value!r}"
    )


def _plain_metadata(metadata: Any) -> dict[str, Any]:
    try:
        if not all(isinstance(key, str) for key in metadata):
            raise TypeError("its keys must be texts")
        plain: dict[str, Any] = json.loads(json.dumps(dict(metadata)))
    except (TypeError, ValueError) as error:
        raise InvalidOptionError(
            f"metadata must be a dict that JSON can hold, got {_shortened(metadata)}: {error}"
        ) from error
    return plain


def _shortened(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 200 else f"{shown[:200]}..."
