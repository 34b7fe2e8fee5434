"""Which vector environments can be bridged to SB3, and what to do about the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, VectorEnv
from stable_baselines3.common.vec_env import VecEnv

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.sb3._routing import layers

__all__ = [
    "SAME_STEP_ADVICE",
    "AnyVectorEnv",
    "autoreset_mode",
    "check_action_space",
    "check_are_distinct",
    "check_is_vector_env",
    "check_partial_resets",
    "observation_parts",
]

AnyVectorEnv: TypeAlias = "VectorEnv[Any, Any, Any]"

_LEAF_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
# Given `reset_mask` these reset the statistics of all sub-environments, or raise.
_NO_PARTIAL_RESET = {
    gym.wrappers.vector.NormalizeObservation: "VecNormalize",
    gym.wrappers.vector.NormalizeReward: "VecNormalize",
    gym.wrappers.vector.RecordEpisodeStatistics: "VecMonitor",
}
SAME_STEP_ADVICE = "give it autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP"


def check_is_vector_env(envs: Any) -> None:
    """Refuse what is not a `gymnasium.vector.VectorEnv`."""
    if isinstance(envs, VectorEnv):
        return
    if isinstance(envs, VecEnv):
        advice = "it already is a VecEnv of SB3, use it as it is"
    else:
        advice = "for single environments use SB3's DummyVecEnv([make_env]) or make_vec_env"
    raise InvalidOptionError(
        f"expected a gymnasium.vector.VectorEnv, got {type(envs).__name__}: {advice}"
    )


def observation_parts(space: spaces.Space[Any]) -> dict[str | None, spaces.Space[Any]]:
    """Return the spaces of a Dict by key, or any other space under None."""
    parts: dict[str | None, spaces.Space[Any]] = {None: space}
    if isinstance(space, spaces.Dict):
        parts = dict(space.spaces.items())
    for part in parts.values():
        if not isinstance(part, _LEAF_SPACES):
            raise IncompatibleEnvironmentError(
                "expected an observation space of type Box, Discrete, MultiDiscrete, MultiBinary "
                f"or a Dict of these, got {part} in {space}; flatten it with a wrapper"
            )
    return parts


def check_action_space(space: spaces.Space[Any]) -> None:
    """Refuse the action spaces that no algorithm of SB3 has."""
    if not isinstance(space, _LEAF_SPACES):
        raise IncompatibleEnvironmentError(
            "expected an action space of type Box, Discrete, MultiDiscrete or MultiBinary, got "
            f"{space}; convert it with a wrapper"
        )


def check_are_distinct(sub_envs: Sequence[gym.Env[Any, Any]]) -> None:
    """Refuse sub-environments that are one and the same, which would play each other's episodes."""
    if len({id(env.unwrapped) for env in sub_envs}) < len(sub_envs):
        raise InvalidOptionError(
            f"expected {len(sub_envs)} different sub-environments, got the same several times: "
            "build a new one in each function, as in SyncVectorEnv([lambda: gym.make(...)] * n)"
        )


def autoreset_mode(envs: AnyVectorEnv) -> str:
    """Return "SameStep", "NextStep" or "Disabled", the values of Gymnasium's `AutoresetMode`."""
    mode = envs.metadata.get("autoreset_mode")
    value = getattr(mode, "value", mode)
    if value not in ("SameStep", "NextStep", "Disabled"):
        raise IncompatibleEnvironmentError(
            f"expected metadata['autoreset_mode'] of {envs} to be an AutoresetMode, got {mode!r}; "
            "set it to what the environment does (gymnasium has it from version 1.1)"
        )
    return str(value)


def check_partial_resets(envs: AnyVectorEnv) -> None:
    """Refuse what is known to reset wrongly when only some sub-environments are finished."""
    *wrappers, base = layers(envs)
    if isinstance(base, AsyncVectorEnv) and not base.shared_memory:
        raise IncompatibleEnvironmentError(
            f"expected an AsyncVectorEnv with shared_memory=True, got {envs} without: in NEXT_STEP "
            f"its workers reset a second time after a reset; {SAME_STEP_ADVICE}"
        )
    if envs.num_envs == 1:
        return
    # The native environments of Gymnasium take no notice of `reset_mask`.
    if type(base).reset.__module__.startswith("gymnasium.envs."):
        name = f'"{base.spec.id}"' if base.spec else "..."
        raise IncompatibleEnvironmentError(
            "expected an environment that can reset its sub-environments one by one, got "
            f"{base}, which resets a finished one only during the next step of all, so that SB3 "
            "would take the reset for a step of the new episode; use "
            f'gym.make_vec({name}, num_envs={base.num_envs}, vectorization_mode="sync")'
        )
    for wrapper in wrappers:
        for refused, instead in _NO_PARTIAL_RESET.items():
            if isinstance(wrapper, refused):
                raise IncompatibleEnvironmentError(
                    "expected wrappers that can reset some sub-environments, got "
                    f"{refused.__name__}: leave it out and put SB3's {instead} around "
                    f"`as_vec_env(...)`, or {SAME_STEP_ADVICE} where the wrapper allows it"
                )
