"""Asking single workers of Gymnasium's `AsyncVectorEnv`, which itself only asks all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from gymnasium.error import AlreadyPendingCallError, ClosedEnvironmentError
from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.async_vector_env import AsyncState

__all__ = ["ask_workers", "wrapped_workers"]

_LOOK = "_kinds_of_wrappers"


def ask_workers(
    envs: AsyncVectorEnv[Any, Any], indices: Sequence[int], command: str, data: Any
) -> list[Any]:
    """Send a command to some workers and return one answer for each index.

    Args:
        envs: Whose workers are asked.
        indices: Which of them.
        command: ``"_call"`` or ``"_setattr"``, as their protocol has it.
        data: What the command needs: ``(name, args, kwargs)``, or ``(name, value)``.

    Raises:
        AlreadyPendingCallError: If the environment is in the middle of an asynchronous step.
        ClosedEnvironmentError: If it is closed, or a worker that is asked has ended.
        Exception: What was raised in a worker; it then has ended, as for `AsyncVectorEnv.call`.
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


def wrapped_workers(
    envs: AsyncVectorEnv[Any, Any], indices: Sequence[int], wrapper_class: type[Any]
) -> list[bool]:
    """Return for each index whether the sub-environment has such a wrapper, or a subclass of it."""
    found = ask_workers(envs, indices, "_call", (_LOOK, (_Lesson(),), {}))
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
