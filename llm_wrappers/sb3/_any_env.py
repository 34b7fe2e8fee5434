"""Methods of an environment of any kind: single, of Gymnasium's vectors, or of SB3's."""

from __future__ import annotations

from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnv

from llm_wrappers.sb3._routing import Routing

__all__ = ["AnyEnv", "ask", "is_any_env", "tell_if_known"]

AnyEnv: TypeAlias = "gym.Env[Any, Any] | VectorEnv[Any, Any, Any] | VecEnv"


def is_any_env(value: Any) -> bool:
    """Return whether a value is an environment of one of the three kinds."""
    return isinstance(value, gym.Env | VectorEnv | VecEnv)


def ask(env: AnyEnv, name: str, *args: Any) -> Any:
    """Call a method and return its answer: of the first sub-environment, where each has its own.

    Raises:
        AttributeError: If nothing in the stack has the method.
    """
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
