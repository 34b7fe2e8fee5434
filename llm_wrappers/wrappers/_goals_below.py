"""Finding the goal, the goal vocabulary and the masks in the layers below a wrapper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym

from llm_wrappers.errors import IncompatibleEnvironmentError

__all__ = ["find_below", "goal_source", "vocabulary_below"]


def find_below(env: Any, name: str) -> Callable[[], Any] | None:
    """Return the method of this name of the outermost layer that has one, else None.

    Args:
        env: An environment or a vector environment.
        name: The name of a method.
    """
    if isinstance(env, gym.Env):
        return env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else None
    layer = env
    while layer is not None:
        if hasattr(layer, name):
            found: Callable[[], Any] = getattr(layer, name)
            return found
        layer = getattr(layer, "env", None)
    return None


def goal_source(env: Any, wrapper: str) -> Callable[[], Any]:
    """Return the `current_goal` of the layers below.

    Raises:
        IncompatibleEnvironmentError: If no layer below has a goal.
    """
    found = find_below(env, "current_goal")
    if found is None:
        raise IncompatibleEnvironmentError(
            f"{wrapper} reads the goal from below, and no layer below has one: wrap the "
            "environment in GoalObservationWrapper first, or give it a method current_goal()"
        )
    return found


def vocabulary_below(env: Any) -> tuple[str, ...]:
    """Return the goal vocabulary of the layers below, empty if none is known."""
    found = find_below(env, "goal_vocabulary")
    return () if found is None else tuple(found())
