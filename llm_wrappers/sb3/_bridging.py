"""What the bridge is made of: which environments fit, infos row by row, episodes counted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.sb3._routing import AnyVectorEnv, layers

__all__ = [
    "SAME_STEP_ADVICE",
    "EpisodeTotals",
    "autoreset_mode",
    "check_action_space",
    "check_are_distinct",
    "check_is_vector_env",
    "check_partial_resets",
    "info_rows",
    "observation_parts",
]

_LEAF_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
# Given `reset_mask` these reset the statistics of all sub-environments, or raise.
_NO_PARTIAL_RESET = {
    gym.wrappers.vector.NormalizeObservation: "VecNormalize",
    gym.wrappers.vector.NormalizeReward: "VecNormalize",
    gym.wrappers.vector.RecordEpisodeStatistics: "VecMonitor",
}
SAME_STEP_ADVICE = "give it autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP"
# What needs no copy, because nobody can change it.
_IMMUTABLE = {type(None), bool, int, float, complex, str, bytes}


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


def info_rows(infos: Mapping[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Turn infos in the form of `gymnasium.vector` into one dict for each sub-environment.

    Columns may be nested dicts of columns. A boolean column ``_key`` says which sub-environments
    have ``key``; without it all of them do. NumPy scalars become Python scalars, arrays are new.

    This runs at every step, so whole columns become Python lists at once; no single element is
    read through NumPy.

    >>> info_rows({"steps": np.array([3, 0]), "_steps": np.array([True, False])}, 2)
    [{'steps': 3}, {}]
    """
    everywhere = b"\x01" * num_envs
    mask_keys = {key: f"_{key}" for key in infos}
    masks = set(mask_keys.values())
    full: dict[str, list[Any]] = {}
    partial: dict[str, tuple[list[Any], list[int]]] = {}
    for key, column in infos.items():
        if key in masks:
            continue
        mask = np.asarray(infos.get(mask_keys[key], True), np.bool_)
        # Comparing bytes is ten times as fast as `mask.all()` on so short an array.
        if mask.ndim == 0 or mask.tobytes() == everywhere:
            full[key] = _values(key, column, num_envs)
        else:
            partial[key] = _some_values(key, column, mask.nonzero()[0], num_envs)

    # Copies of a dict with all keys never grow, so filling them costs half of building them.
    template: dict[str, Any] = dict.fromkeys(full)
    rows = [template.copy() for _ in range(num_envs)]
    for key, values in full.items():
        for row, value in zip(rows, values, strict=True):
            row[key] = value
    for key, (values, present) in partial.items():
        for index, value in zip(present, values, strict=True):
            rows[index][key] = value
    return rows


def _values(key: str, column: Any, num_envs: int) -> list[Any]:
    """Return the values of one column as a list of ``num_envs`` new Python objects or arrays."""
    if isinstance(column, Mapping):
        return info_rows(column, num_envs)
    if isinstance(column, list | tuple) and len(column) == num_envs:
        return [_own(value) for value in column]
    array = np.asarray(column)
    if array.shape[:1] != (num_envs,):
        raise IncompatibleEnvironmentError(
            f"expected the info {key!r} to hold one value for each of {num_envs} sub-environments, "
            f"got shape {array.shape}; use an attribute for what describes all of them"
        )
    if array.dtype != object:
        return array.tolist() if array.ndim == 1 else list(array.copy())
    values = list(array)
    return values if _IMMUTABLE.issuperset(map(type, values)) else [_own(v) for v in values]


def _some_values(
    key: str, column: Any, present: np.ndarray[Any, Any], num_envs: int
) -> tuple[list[Any], list[int]]:
    """Return the values of a column that only some sub-environments have, and which these are."""
    indices: list[int] = present.tolist()
    if isinstance(column, np.ndarray) and column.shape[:1] == (num_envs,):
        return _values(key, column[present], len(indices)), indices
    values = _values(key, column, num_envs)
    return [values[index] for index in indices], indices


def _own(value: Any) -> Any:
    """Return a value that shares nothing mutable with the environment."""
    return value.item() if isinstance(value, np.generic) else deepcopy(value)


class EpisodeTotals:
    """Counts what SB3's `Monitor` counts, for n sub-environments at once."""

    def __init__(self, n: int) -> None:
        self._returns = np.zeros(n)
        # One count of steps, and where each episode began in it: cheaper than n counts.
        self._steps, self._began = 0, np.zeros(n, np.int64)
        self._start = time.time()

    def begin(self) -> None:
        """Forget the episodes that were not played to their end."""
        self._returns[:], self._began[:] = 0.0, self._steps

    def add(self, rewards: NDArray[Any]) -> None:
        """Take in the rewards of a step, shape (n,)."""
        self._returns += rewards
        self._steps += 1

    def finish(self, index: int) -> dict[str, Any]:
        """Return the return ``r``, length ``l`` and seconds ``t`` of an episode, and begin anew."""
        total = {
            "r": round(float(self._returns[index]), 6),
            "l": self._steps - int(self._began[index]),
            "t": round(time.time() - self._start, 6),
        }
        self._returns[index], self._began[index] = 0.0, self._steps
        return total
