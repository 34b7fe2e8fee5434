"""Which actions can be advised, and how an advised one is made to fit its space."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError

__all__ = ["SIMPLE_SPACES", "check_advisable", "fitted_action"]

SIMPLE_SPACES = (
    gym.spaces.Box,
    gym.spaces.Discrete,
    gym.spaces.MultiDiscrete,
    gym.spaces.MultiBinary,
)


def check_advisable(space: gym.Space[Any]) -> None:
    """Refuse a space whose actions cannot be advised.

    Raises:
        IncompatibleEnvironmentError: If it is no Box, Discrete, MultiDiscrete or MultiBinary.
    """
    if not isinstance(space, SIMPLE_SPACES):
        raise IncompatibleEnvironmentError(
            "expected a Box, Discrete, MultiDiscrete or MultiBinary action space, got "
            f"{space}; actions of other spaces cannot be advised"
        )


def fitted_action(action: Any, space: gym.Space[Any], fault: str) -> NDArray[Any]:
    """Return an action in the type of its space, clipped where that is a Box.

    Args:
        action: The advised action.
        space: One that `check_advisable` passes.
        fault: The beginning of the message if it is none of the space.

    Raises:
        InvalidOptionError: If it is not of the space, out of the bounds of a Box excepted.
    """
    value = np.asarray(action)
    wrong = InvalidOptionError(f"{fault}, got {value.tolist()!r} of shape {value.shape}")
    if value.dtype.kind not in "biuf" or value.shape != space.shape:
        raise wrong
    if isinstance(space, gym.spaces.Box):
        # Clipped before it is cast: a number that the type cannot hold would wrap around.
        clipped: NDArray[Any] = np.clip(value, space.low, space.high).astype(space.dtype)
        if not space.contains(clipped):
            raise wrong
        return clipped
    fitting: NDArray[Any] = value.astype(space.dtype)
    if not np.array_equal(fitting, value) or not space.contains(fitting):
        raise wrong
    return fitting
