"""Finding the goal, the goal vocabulary and the masks in the layers below a wrapper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError

__all__ = [
    "find_below",
    "forward_progress",
    "gathered_stats",
    "goal_source",
    "reject_unknown_goals",
    "vocabulary_below",
]


# Sub-environments have these in common; of other methods each has its own result.
_SHARED = frozenset({"env_description", "goal_vocabulary"})


def find_below(env: Any, name: str) -> Callable[..., Any] | None:
    """Return the method of this name of the outermost layer that has one, else None.

    Where only the sub-environments of a vector environment have it, the method asks them all and
    returns a tuple, or one result of what they have in common.

    Args:
        env: An environment or a vector environment.
        name: The name of a method.
    """
    if isinstance(env, gym.Env):
        return env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else None
    base, layer = env, env
    while layer is not None:
        if hasattr(layer, name):
            found: Callable[..., Any] = getattr(layer, name)
            return found
        base, layer = layer, getattr(layer, "env", None)
    if not isinstance(base, SyncVectorEnv | AsyncVectorEnv):
        return None
    if not all(base.call("has_wrapper_attr", name)):
        return None
    return partial(_call_first if name in _SHARED else _call, base, name)


def _call(envs: Any, name: str, *args: Any) -> Any:
    return envs.call(name, *args)


def _call_first(envs: Any, name: str) -> Any:
    return envs.call(name)[0]


def goal_source(env: Any, wrapper: str) -> Callable[..., Any]:
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


def reject_unknown_goals(entries: Mapping[str, Any], vocabulary: tuple[str, ...]) -> None:
    """Raise if guidance has an entry for a goal that the layers below can never set."""
    if not isinstance(entries, Mapping) or not vocabulary:
        return
    unknown = [goal for goal in entries if goal not in vocabulary]
    if unknown:
        raise InvalidOptionError(
            f"expected goals of the vocabulary {list(vocabulary)}, got {unknown}"
        )


def forward_progress(env: Any, progress: float) -> None:
    """Set the training progress in the layers below that have one."""
    set_progress = find_below(env, "set_progress")
    if set_progress is not None:
        set_progress(progress)


def gathered_stats(env: Any) -> dict[str, dict[str, Any]]:
    """Return the counters of each layer that has `stats`, by class name, outside in.

    A second layer of the same class is called by its name and its number.
    """
    stats: dict[str, dict[str, Any]] = {}
    layer = env
    while layer is not None:
        if "stats" in type(layer).__dict__:
            name = type(layer).__name__
            alike = sum(key.split(" ")[0] == name for key in stats)
            stats[f"{name} {alike + 1}" if alike else name] = layer.stats()
        layer = getattr(layer, "env", None)
    return stats
