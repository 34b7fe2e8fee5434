"""Actions as a model writes them, names or lists of numbers, and which of them can be used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.methods._asking import plain

__all__ = ["REJECTED", "ActionForm", "RejectedAction", "action_form"]

REJECTED = ("unknown_action", "wrong_shape", "not_finite")
"""Why an action cannot be used."""

_MOST_SHOWN = 20

ActionForm: TypeAlias = "NamedActions | NumberActions | WholeActions"


class RejectedAction(ValueError):
    """An action that is not of the space; its text is one of `REJECTED`."""


def action_form(space: gym.Space[Any], names: Sequence[str]) -> ActionForm:
    """Return how a model is to write the actions of a space, with the names of Discrete ones.

    >>> action_form(gym.spaces.Discrete(2), ("push left", "push right")).read("Push_Right")
    (array(1), False)
    >>> action_form(gym.spaces.Box(-2, 2, (1,)), ()).read([2.5])
    (array([2.], dtype=float32), True)

    """
    if isinstance(space, gym.spaces.Discrete):
        return NamedActions(space, names)
    if isinstance(space, gym.spaces.Box):
        return NumberActions(space)
    if isinstance(space, gym.spaces.MultiDiscrete | gym.spaces.MultiBinary):
        return WholeActions(space)
    raise IncompatibleEnvironmentError(
        "expected a Box, Discrete, MultiDiscrete or MultiBinary action space, got "
        f"{space}; actions of other spaces cannot be advised"
    )


class NamedActions:
    """Actions of a Discrete space, by name; without names they are numbered."""

    answer_type: Any = str

    def __init__(self, space: gym.spaces.Discrete, names: Sequence[str]) -> None:
        start, count = int(space.start), int(space.n)
        if names and len(names) != count:
            raise InvalidOptionError(
                f"expected a description with a name for each of the {count} actions, got "
                f"{len(names)}"
            )
        self.names = tuple(names) or tuple(f"action {start + i}" for i in range(count))
        self._actions = {plain(name): start + i for i, name in enumerate(self.names)}
        # As it is written comes first, where names differ in nothing else.
        self._actions |= {name: start + i for i, name in enumerate(self.names)}
        self._type = space.dtype
        self.in_words = "its name, exactly as it is written above"

    def read(self, said: Any) -> tuple[NDArray[Any], bool]:
        """Return the action of a name, and that nothing was clipped."""
        action = self._actions.get(said, self._actions.get(plain(said)))
        if action is None:
            raise RejectedAction("unknown_action")
        return np.asarray(action, dtype=self._type), False


class NumberActions:
    """Actions of a Box, as lists of numbers."""

    answer_type: Any = list[float]

    def __init__(self, space: gym.spaces.Box) -> None:
        self.names: tuple[str, ...] = ()
        self._space = space
        self.in_words = _list_in_words(space.shape, _bounds_in_words(space))

    def read(self, said: Any) -> tuple[NDArray[Any], bool]:
        """Return the action within the bounds of the space, and whether it was outside."""
        if len(said) != math.prod(self._space.shape):
            raise RejectedAction("wrong_shape")
        wanted = np.array(said, dtype=np.float64).reshape(self._space.shape)
        # Whole numbers of very many digits are infinite by now.
        if not np.isfinite(wanted).all():
            raise RejectedAction("not_finite")
        inside = np.clip(wanted, self._space.low, self._space.high)
        if self._space.dtype is not None and self._space.dtype.kind in "iu":
            inside = np.rint(inside)
        with np.errstate(over="ignore"):
            action = inside.astype(self._space.dtype)
        if not np.isfinite(action).all():
            raise RejectedAction("not_finite")
        return action, not np.array_equal(inside, wanted)


class WholeActions:
    """Actions of a MultiDiscrete or MultiBinary space, as lists of whole numbers."""

    answer_type: Any = list[int]

    def __init__(self, space: gym.spaces.MultiDiscrete | gym.spaces.MultiBinary) -> None:
        self.names: tuple[str, ...] = ()
        self._space = space
        self._low = np.zeros(space.shape, int)
        self._high = np.ones(space.shape, int)
        if isinstance(space, gym.spaces.MultiDiscrete):
            self._low = np.asarray(getattr(space, "start", self._low))
            self._high = self._low + space.nvec - 1
        bounds = "; ".join(
            f"{low} to {high}"
            for low, high in zip(self._low.flat[:_MOST_SHOWN], self._high.flat, strict=False)
        )
        self.in_words = _list_in_words(space.shape, f"from {bounds}", "whole numbers")

    def read(self, said: Any) -> tuple[NDArray[Any], bool]:
        """Return the action of a list, and that nothing was clipped."""
        if len(said) != math.prod(self._space.shape):
            raise RejectedAction("wrong_shape")
        # As Python's own numbers, which may be of any size.
        limits = zip(said, self._low.flat, self._high.flat, strict=True)
        if not all(low <= value <= high for value, low, high in limits):
            raise RejectedAction("unknown_action")
        return np.array(said, dtype=self._space.dtype).reshape(self._space.shape), False


def _bounds_in_words(space: gym.spaces.Box) -> str:
    pairs = list(zip(space.low.flat, space.high.flat, strict=True))
    shown = pairs[:1] if len(set(pairs)) == 1 else pairs[:_MOST_SHOWN]
    return "from " + "; ".join(f"{low:.4g} to {high:.4g}" for low, high in shown)


def _list_in_words(shape: tuple[int, ...], bounds: str, kind: str = "numbers") -> str:
    number = math.prod(shape)
    rows = f" (of shape {shape}, row by row)" if len(shape) != 1 else ""
    return f"a list of {number} {kind if number > 1 else kind.removesuffix('s')}{rows}, {bounds}"
