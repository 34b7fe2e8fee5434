"""Actions as a model writes them: names, or lists of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import gymnasium as gym

from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.methods.ultra._named_actions import NamedActions
from llm_wrappers.methods.ultra._number_actions import NumberActions
from llm_wrappers.methods.ultra._whole_actions import WholeActions

__all__ = ["ActionForm", "action_form"]

ActionForm: TypeAlias = "NamedActions | NumberActions | WholeActions"


def action_form(space: gym.Space[Any], names: Sequence[str]) -> ActionForm:
    """Return how a model is to write the actions of a space.

    Args:
        space: A Box, Discrete, MultiDiscrete or MultiBinary.
        names: The names of Discrete actions.

    Raises:
        IncompatibleEnvironmentError: If the space is another one.
        InvalidOptionError: If there are not as many names as actions.

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
