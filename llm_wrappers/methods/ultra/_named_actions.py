"""Discrete actions as a model writes them: names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.methods._names import plain
from llm_wrappers.methods.ultra._rejected_action import RejectedAction

__all__ = ["NamedActions"]


class NamedActions:
    """Actions of a Discrete space, by name.

    Args:
        space: The action space.
        names: One per action; may be empty.
    """

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
