"""Who answers to a name: a wrapper of a whole vector environment, or its sub-environments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium.error import AlreadyPendingCallError, ClosedEnvironmentError
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.async_vector_env import AsyncState
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env import VecEnv

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError

__all__ = ["AnyEnv", "AnyVectorEnv", "Routing", "ask", "is_any_env", "layers", "tell_if_known"]

AnyVectorEnv: TypeAlias = "VectorEnv[Any, Any, Any]"
AnyEnv: TypeAlias = "gym.Env[Any, Any] | AnyVectorEnv | VecEnv"

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
    `sub_envs` are those that are objects of this process.
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
        """Return whether the batch or all sub-environments know a name; nothing is called."""
        if self._owner(name) is not None or name in _SINGLE:
            return True
        everywhere = range(self._envs.num_envs)
        return self._in_sub_envs(name, everywhere) or self._in_api(name)

    def get(self, name: str, indices: Sequence[int]) -> list[Any]:
        """Return one value for each index."""
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
        """Set an attribute where it is defined; unknown ones are created on sub-environments."""
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
            _ask_workers(self._remote, indices, "_setattr", (name, value))
        else:
            raise AttributeError(f"no layer of {self._envs} has {name!r}")

    def call(self, name: str, indices: Sequence[int], *args: Any, **kwargs: Any) -> list[Any]:
        """Call a method and return one result for each index."""
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
            return _wrapped_workers(self._remote, indices, wrapper_class)
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
        return _ask_workers(self._remote, indices, "_call", (name, args, kwargs))


# --- environments of any kind: single, of Gymnasium's vectors, or of SB3's ---


def is_any_env(value: Any) -> bool:
    """Return whether a value is an environment of one of the three kinds."""
    return isinstance(value, gym.Env | VectorEnv | VecEnv)


def ask(env: AnyEnv, name: str, *args: Any) -> Any:
    """Call a method and return its answer: of the first sub-environment, where each has its own."""
    if isinstance(env, VecEnv):
        return env.env_method(name, *args, indices=[0])[0]
    if isinstance(env, VectorEnv):
        return Routing(env).call(name, [0], *args)[0]
    return env.get_wrapper_attr(name)(*args)


def tell_if_known(env: AnyEnv, name: str, *args: Any) -> None:
    """Call a method in all sub-environments, if they have it."""
    if isinstance(env, VecEnv):
        if env.has_attr(name):
            env.env_method(name, *args)
    elif isinstance(env, VectorEnv):
        routing = Routing(env)
        if routing.has(name):
            routing.call(name, range(env.num_envs), *args)
    elif env.has_wrapper_attr(name):
        env.get_wrapper_attr(name)(*args)


# --- workers of an AsyncVectorEnv, which itself only asks all of them ---

_LOOK = "_kinds_of_wrappers"


def _ask_workers(
    envs: AsyncVectorEnv[Any, Any], indices: Sequence[int], command: str, data: Any
) -> list[Any]:
    """Send a command to some workers and return one answer for each index.

    The command is ``"_call"`` with ``(name, args, kwargs)``, or ``"_setattr"`` with
    ``(name, value)``. What is raised in a worker is raised here, and ends it.
    """
    envs._assert_is_running()
    if envs._state != AsyncState.DEFAULT:
        doing = envs._state.value
        raise AlreadyPendingCallError(
            f"expected a vector environment that waits for nothing, got one in the middle of "
            f"{doing}_async: call {doing}_wait() before you ask its sub-environments",
            doing,
        )
    # The type says otherwise, but what has ended leaves None in the place of its pipe.
    pipes: list[Any] = [envs.parent_pipes[index] for index in indices]
    if None in pipes:
        ended = [index for index, pipe in zip(indices, pipes, strict=True) if pipe is None]
        raise ClosedEnvironmentError(
            f"the workers {ended} of {envs} ended with an exception before; build it anew"
        )
    for pipe in pipes:
        pipe.send((command, data))
    answers, successes = [], [True] * envs.num_envs
    for index, pipe in zip(indices, pipes, strict=True):
        answer, successes[index] = pipe.recv()
        answers.append(answer)
    envs._raise_if_errors(successes)
    return answers


def _wrapped_workers(
    envs: AsyncVectorEnv[Any, Any], indices: Sequence[int], wrapper_class: type[Any]
) -> list[bool]:
    """Return for each index whether the sub-environment has such a wrapper, or a subclass of it."""
    found = _ask_workers(envs, indices, "_call", (_LOOK, (_Lesson(),), {}))
    wanted = _name_of(wrapper_class)
    return [wanted in kinds for kinds in found]


class _Lesson:
    """Teaches the process that receives it to name the wrappers of an environment.

    A worker calls methods of its environment and nothing else, and no method of Gymnasium's tells
    the classes of a stack: the text of `str(env)` does not name base classes, and raises in
    environments that have another (MiniGrid, before a reset).
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _learn, ()


def _learn() -> None:
    setattr(gym.Env, _LOOK, _kinds_of_wrappers)


def _kinds_of_wrappers(env: Any, _lesson: None) -> set[str]:
    """Return the names of the classes of all wrappers of a stack, and of their base classes."""
    found: set[str] = set()
    while isinstance(env, gym.Wrapper):
        found.update(map(_name_of, type(env).__mro__))
        env = env.env
    return found


def _name_of(kind: type[Any]) -> str:
    # In a process that was spawned the main module has another name.
    module = "__main__" if kind.__module__ == "__mp_main__" else kind.__module__
    return f"{module}.{kind.__qualname__}"
