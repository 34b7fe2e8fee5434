"""An observation space taken apart into the arrays it holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from llm_wrappers.errors import InvalidOptionError

__all__ = ["SpaceLeaf", "space_leaves"]

_Space: TypeAlias = "gym.Space[Any]"
_Value: TypeAlias = "bool | int | float | str"
_ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


@dataclass(frozen=True)
class SpaceLeaf:
    """One array of an observation, and how it becomes facts.

    Args:
        label: The name the facts begin with.
        path: The dict keys and tuple indices that lead to the array.
        space: Its space: Box, Discrete, MultiDiscrete or MultiBinary.
        max_values: An array with more values than this is summarised.
    """

    label: str
    path: tuple[Any, ...]
    space: _Space
    max_values: int

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of one observation, without the batch axis."""
        assert self.space.shape is not None  # true of all spaces in _ARRAYS
        return self.space.shape

    @property
    def summarised(self) -> bool:
        """Whether the array is too large for one fact per value."""
        return math.prod(self.shape) > self.max_values

    @property
    def categorical(self) -> bool:
        """Whether a larger value is another choice, rather than more of something."""
        return not isinstance(self.space, spaces.Box)

    @cached_property
    def fact_names(self) -> tuple[str, ...]:
        """The names of the facts, in the order of `rows`."""
        if self.summarised:
            return tuple(f"{self.label}_{what}" for what in ("shape", "mean", "min", "max"))
        return tuple("_".join(map(str, (self.label, *at))) for at in np.ndindex(self.shape))

    @property
    def words(self) -> str:
        """The space as a phrase, such as ``"obs (2 numbers from -1 to 1)"``."""
        size = math.prod(self.shape)
        count = "1 number" if size == 1 else f"{size} numbers"
        bounds = _bounds(self.space) if size else ""
        summary = f", {_times(self.shape)}, summarised" if self.summarised else ""
        return f"{self.label} ({count}{bounds}{summary})"

    def rows(self, observations: Any) -> list[list[_Value]]:
        """Return the values of the facts as Python scalars, one row per sub-environment."""
        batch = self._batch(observations)
        if self.summarised:
            return [self._summary(row) for row in batch]
        rows: list[list[_Value]] = batch.reshape(len(batch), math.prod(self.shape)).tolist()
        return rows

    def _batch(self, observations: Any) -> npt.NDArray[Any]:
        part = observations
        try:
            for key in self.path:
                part = part[key]
        except (KeyError, IndexError, TypeError) as error:
            raise InvalidOptionError(f"observations hold no {self.label!r}: {error!r}") from error
        batch = np.asarray(part)
        if batch.ndim == 0 or batch.shape[1:] != self.shape:
            expected = ", ".join(map(str, ("n", *self.shape)))
            raise InvalidOptionError(
                f"{self.label!r} must be a batch of the shape ({expected}), got {batch.shape}"
            )
        return batch

    def _summary(self, row: npt.NDArray[Any]) -> list[_Value]:
        with np.errstate(invalid="ignore", over="ignore"):
            mean = float(row.mean(dtype=np.float64))
        return [_times(self.shape), mean, row.min().item(), row.max().item()]


def space_leaves(space: _Space, max_values: int) -> list[SpaceLeaf]:
    """Return the arrays of an observation space in a fixed order.

    >>> space = spaces.Tuple((spaces.Box(0, 9, (2,)), spaces.Box(0, 255, (64, 64), np.uint8)))
    >>> [leaf.fact_names for leaf in space_leaves(space, max_values=64)]
    [('obs_0_0', 'obs_0_1'), ('obs_1_shape', 'obs_1_mean', 'obs_1_min', 'obs_1_max')]
    """
    leaves = [SpaceLeaf(_label(path), path, part, max_values) for path, part in _parts(space, ())]
    if not leaves:
        raise InvalidOptionError(f"observation_space must hold something to observe, got {space}")
    return leaves


def _label(path: tuple[Any, ...]) -> str:
    # A name must not begin with the bare index of a tuple, nor be empty.
    named = path and isinstance(path[0], str)
    return "_".join(map(str, path if named else ("obs", *path)))


def _parts(space: _Space, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], _Space]]:
    children: Iterable[tuple[Any, _Space]]
    if isinstance(space, spaces.Dict):
        children = space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        children = enumerate(space.spaces)
    elif isinstance(space, _ARRAYS):
        yield path, space
        return
    else:
        where = f" at {'.'.join(map(str, path))!r}" if path else ""
        raise InvalidOptionError(
            "observation_space must be made of Box, Discrete, MultiDiscrete, MultiBinary, Dict "
            f"and Tuple, got {type(space).__name__}{where}; write a captioner for it"
        )
    for key, child in children:
        yield from _parts(child, (*path, key))


def _bounds(space: _Space) -> str:
    low: Any
    high: Any
    if isinstance(space, spaces.Box):
        low, high = space.low.min(), space.high.max()
    elif isinstance(space, spaces.Discrete):
        low, high = space.start, space.start + space.n - 1
    elif isinstance(space, spaces.MultiDiscrete):
        low, high = space.start.min(), (space.start + space.nvec - 1).max()
    else:
        low, high = 0, 1
    return f" from {float(low):g} to {float(high):g}"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
