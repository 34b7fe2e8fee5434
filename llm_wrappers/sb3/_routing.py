"""Who answers to a name: a wrapper of the whole vector environment, or the sub-environments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper
from stable_baselines3.common.env_util import is_wrapped

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.sb3._workers import ask_workers, wrapped_workers

__all__ = ["Routing", "layers"]

AnyVectorEnv: TypeAlias = "VectorEnv[Any, Any, Any]"

# Every vector environment has these and they speak of the batch, so they say nothing about who
# owns a name.
_VECTOR_API = frozenset(dir(VectorWrapper)) | frozenset(dir(VectorEnv))
# What SB3 asks of one sub-environment, and who knows it in a stack of wrappers.
_SINGLE = {
    "observation_space": "single_observation_space",
    "action_space": "single_action_space",
    "render_mode": "render_mode",
}


def layers(envs: AnyVectorEnv) -> Iterator[AnyVectorEnv]:
    """Yield the wrappers of a vector environment from outside in, then the environment itself."""
    while isinstance(envs, VectorWrapper):
        yield envs
        envs = envs.env
    yield envs


class Routing:
    """Methods and attributes of a vector environment, as SB3 asks for them.

    A name belongs to the outermost layer that defines it, beyond what every `VectorEnv` has, and
    else to the sub-environments. `__getattr__` is not asked: a forwarding wrapper owns nothing.

    Args:
        envs: A Gymnasium vector environment with any wrappers around it.

    Attributes:
        sub_envs: The sub-environments that are objects of this process; empty if there are none.
    """

    def __init__(self, envs: AnyVectorEnv) -> None:
        self._envs = envs
        self._layers = tuple(layers(envs))
        base = self._layers[-1]
        # Sub-environments that are objects of this process, and those that can only be called.
        self.sub_envs: list[gym.Env[Any, Any]] = (
            list(base.envs) if isinstance(base, SyncVectorEnv) else []
        )
        self._remote = base if isinstance(base, AsyncVectorEnv) else None
        holds_sub_envs = isinstance(base, SyncVectorEnv | AsyncVectorEnv)
        self._owners = self._layers[:-1] if holds_sub_envs else self._layers

    def has(self, name: str) -> bool:
        """Return whether the batch or all sub-environments know ``name``; nothing is called."""
        if self._owner(name) is not None or name in _SINGLE:
            return True
        everywhere = range(self._envs.num_envs)
        return self._in_sub_envs(name, everywhere) or self._in_api(name)

    def get(self, name: str, indices: Sequence[int]) -> list[Any]:
        """Return one value for each index.

        Raises:
            AttributeError: If neither the batch nor the sub-environments know ``name``.
        """
        owner = self._owner(name)
        if owner is not None:
            return [getattr(owner, name)] * len(indices)
        if name in _SINGLE:
            return [getattr(self._envs, _SINGLE[name])] * len(indices)
        if self._in_sub_envs(name, indices):
            # Calling `name` would call a method; this fetches it, in any process.
            return self._call_sub_envs("get_wrapper_attr", indices, name)
        if self._in_api(name):
            return [getattr(self._envs, name)] * len(indices)
        raise AttributeError(f"neither {self._envs} nor its sub-environments have {name!r}")

    def set(self, name: str, value: Any, indices: Sequence[int]) -> None:
        """Set an attribute where it is defined; unknown ones are created on the sub-environments.

        Raises:
            AttributeError: If nobody knows ``name`` and there are no sub-environments.
            InvalidOptionError: If only some indices are asked for and all would be changed.
        """
        owner = self._owner(name)
        if owner is not None:
            if set(indices) != set(range(self._envs.num_envs)):
                raise InvalidOptionError(
                    "expected indices=None, that is all sub-environments, got "
                    f"{list(indices)}: {name!r} is shared by all sub-environments of {owner}"
                )
            setattr(owner, name, value)
        elif self.sub_envs:
            for index in indices:
                self.sub_envs[index].set_wrapper_attr(name, value)
        elif self._remote is not None:
            ask_workers(self._remote, indices, "_setattr", (name, value))
        else:
            raise AttributeError(f"no layer of {self._envs} has {name!r}")

    def call(self, name: str, indices: Sequence[int], *args: Any, **kwargs: Any) -> list[Any]:
        """Call a method and return one result for each index.

        Raises:
            AttributeError: If neither the batch nor the sub-environments know ``name``.
            IncompatibleEnvironmentError: If a batched method does not return n rows.
        """
        owner = self._owner(name)
        if owner is None and self._in_sub_envs(name, indices):
            return self._call_sub_envs(name, indices, *args, **kwargs)
        if owner is None and not self._in_api(name):
            raise AttributeError(f"neither {self._envs} nor its sub-environments have {name!r}")
        target = self._envs if owner is None else owner
        result = getattr(target, name)(*args, **kwargs)
        if name not in getattr(type(target), "batched_methods", ()):
            return [result] * len(indices)
        if len(result) != self._envs.num_envs:
            raise IncompatibleEnvironmentError(
                f"expected the batched method {name!r} of {target} to return {self._envs.num_envs} "
                f"rows, one for each sub-environment, got {len(result)}"
            )
        return [result[index] for index in indices]

    def is_wrapped(self, wrapper_class: type[Any], indices: Sequence[int]) -> list[bool]:
        """Return for each index whether the batch or the sub-environment has such a wrapper."""
        if any(isinstance(layer, wrapper_class) for layer in self._layers):
            return [True] * len(indices)
        if self._remote is not None:
            return wrapped_workers(self._remote, indices, wrapper_class)
        if not self.sub_envs:
            return [False] * len(indices)
        return [is_wrapped(self.sub_envs[index], wrapper_class) for index in indices]

    def _owner(self, name: str) -> AnyVectorEnv | None:
        if name in _VECTOR_API:
            return None
        for layer in self._owners:
            if name in vars(layer) or hasattr(type(layer), name):
                return layer
        return None

    def _in_api(self, name: str) -> bool:
        return name in _VECTOR_API and hasattr(self._envs, name)

    def _in_sub_envs(self, name: str, indices: Sequence[int]) -> bool:
        # A worker that is asked for what it lacks shuts down, so ask whether it has it.
        has_sub_envs = self.sub_envs or self._remote is not None
        return bool(has_sub_envs) and all(self._call_sub_envs("has_wrapper_attr", indices, name))

    def _call_sub_envs(
        self, name: str, indices: Sequence[int], *args: Any, **kwargs: Any
    ) -> list[Any]:
        if self.sub_envs:
            methods = [self.sub_envs[index].get_wrapper_attr(name) for index in indices]
            return [method(*args, **kwargs) for method in methods]
        assert self._remote is not None
        return ask_workers(self._remote, indices, "_call", (name, args, kwargs))
