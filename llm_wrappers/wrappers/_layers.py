"""Walking a stack: the layers below a wrapper, and the sub-environments at the bottom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from llm_wrappers.errors import InvalidOptionError

__all__ = [
    "ask_sub_environments",
    "find_below",
    "layers_of",
    "load_sub_environments",
    "own_method",
    "reject_unknown_goals",
    "sub_environments",
]


def layers_of(env: Any) -> Iterator[Any]:
    """Yield an environment and what it wraps, outside in; wrappers of anybody's."""
    layer = env
    while layer is not None:
        yield layer
        layer = getattr(layer, "env", None)


def sub_environments(env: Any) -> SyncVectorEnv | AsyncVectorEnv | None:
    """Return the vector environment at the bottom if it holds sub-environments, else None."""
    *_, base = layers_of(env)
    return base if isinstance(base, SyncVectorEnv | AsyncVectorEnv) else None


def ask_sub_environments(env: Any, name: str, *args: Any) -> tuple[Any, ...] | None:
    """Return what a method of each sub-environment returns, None where they do not all have it."""
    envs = sub_environments(env)
    # A worker that is asked for what it lacks shuts down, so it is asked first whether it has it.
    if envs is None or not all(envs.call("has_wrapper_attr", name)):
        return None
    return envs.call(name, *args)


def load_sub_environments(env: Any, states: Any) -> None:
    """Restore the guidance state of each sub-environment of a vector environment."""
    envs = sub_environments(env)
    n = 0 if envs is None else envs.num_envs
    if envs is None or not isinstance(states, list) or len(states) != n:
        got = len(states) if isinstance(states, list) else repr(states)
        raise InvalidOptionError(f"expected the states of {n} sub-environments, got {got}")
    # A call says the same to all; an attribute can be another one in each.
    envs.set_attr("handed_state", states)
    for row, wrong in enumerate(envs.call("load_handed_state")):
        if wrong:
            raise InvalidOptionError(f"sub-environment {row}: {wrong}")


def own_method(layer: Any, name: str) -> Callable[..., Any] | None:
    """Return a method that a layer has itself, not one that it forwards."""
    if name not in vars(layer) and not hasattr(type(layer), name):
        return None
    method = getattr(layer, name)
    return method if callable(method) else None


def find_below(env: Any, name: str) -> Callable[..., Any] | None:
    """Return the method of this name of the outermost layer that has one, else None.

    Where only the sub-environments of a vector environment have it, the method asks them all and
    returns a tuple. It is looked up once, when a wrapper is made: a step has no time for it.
    """
    if isinstance(env, gym.Env):
        return env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else None
    for layer in layers_of(env):
        if hasattr(layer, name):
            found: Callable[..., Any] = getattr(layer, name)
            return found
    envs = sub_environments(env)
    if envs is None or not all(envs.call("has_wrapper_attr", name)):
        return None
    return partial(_call, envs, name)


def _call(envs: Any, name: str, *args: Any) -> Any:
    return envs.call(name, *args)


def reject_unknown_goals(entries: Mapping[str, Any], vocabulary: tuple[str, ...]) -> None:
    """Raise if guidance has an entry for a goal that the layers below can never set."""
    if not isinstance(entries, Mapping) or not vocabulary:
        return
    unknown = [goal for goal in entries if goal not in vocabulary]
    if unknown:
        raise InvalidOptionError(
            f"expected goals of the vocabulary {list(vocabulary)}, got {unknown}"
        )
