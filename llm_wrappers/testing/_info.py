"""Point 8: what a wrapper adds to the info."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from llm_wrappers.testing._rollout import Call
from llm_wrappers.testing._subject import Subject
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["check_info"]

RESERVED = frozenset(
    {
        "TimeLimit.truncated",
        "episode",
        "final_info",
        "final_obs",
        "is_success",
        "reset_info",
        "reset_infos",
        "terminal_observation",
    }
)
"""Keys into which Gymnasium and Stable-Baselines3 write."""

_MOST_VALUES = 64
_LONGEST_JSON = 2_000


def check_info(subject: Subject) -> None:
    """The keys a wrapper adds are plain, there at every call, and of one type each."""
    env, probe = subject.probed()
    _, info = env.reset(seed=subject.seed)
    types = _added_types(info, probe.calls[-1])
    _check_reward(info, 0.0, probe.calls[-1:])
    over = False
    for number, action in enumerate(subject.actions(), start=1):
        before = len(probe.calls)
        if over:
            _, info = env.reset()
            reward, over = 0.0, False
        else:
            _, step_reward, terminated, truncated, info = env.step(action)
            reward, over = float(step_reward), bool(terminated or truncated)
        _check_same(types, _added_types(info, probe.calls[-1]), f"call {number}")
        _check_reward(info, reward, probe.calls[before:])


def _added_types(info: dict[str, Any], below: Call) -> dict[str, str]:
    if not isinstance(info, dict):
        raise _error("the info to be a dict", f"a {type(info).__name__}")
    lost = sorted(str(key) for key in below.info.keys() - info.keys())
    if lost:
        raise _error(f"every key of the info below to be kept, also {lost}", sorted(info))
    added = {key: value for key, value in info.items() if key not in below.info}
    for key in added:
        if not isinstance(key, str) or not key:
            raise _error("keys that are non-empty strings", key)
        if key.startswith("_"):
            raise _error(
                "no key that begins with '_'",
                key,
                "vector environments keep the mask of 'key' in '_key'",
            )
        if key in RESERVED:
            raise _error(f"no key among {sorted(RESERVED)}", key, "other packages write there")
    return {key: _checked_type(key, value) for key, value in added.items()}


def _checked_type(key: str, value: Any) -> str:
    if isinstance(value, np.ndarray):
        if value.dtype == object or value.size > _MOST_VALUES:
            raise _error(
                f"info[{key!r}] to have at most {_MOST_VALUES} plain values",
                f"{value.size} of {value.dtype}",
                "infos are copied at every step",
            )
        return f"{value.dtype} {value.shape}"
    try:
        length = len(json.dumps(value))
    except (TypeError, ValueError):
        raise _error(
            f"info[{key!r}] to be a number, a string, a small array or what JSON can hold",
            f"a {type(value).__name__}",
        ) from None
    if length > _LONGEST_JSON:
        raise _error(f"info[{key!r}] to be short", f"{length} characters of JSON")
    return type(value).__name__


def _check_same(types: dict[str, str], now: dict[str, str], when: str) -> None:
    if types.keys() != now.keys():
        raise _error(
            f"the keys added at the first reset, {sorted(types)}, at each call, so in {when}",
            str(sorted(now)),
            "give a key a neutral value where it has no meaning",
        )
    for key, kind in types.items():
        if now[key] != kind:
            raise _error(f"info[{key!r}] to be of type {kind} in {when} too", now[key])


def _check_reward(info: dict[str, Any], reward: float, below: Sequence[Call]) -> None:
    # A wrapper may step more than once, and then adds up.
    untouched = sum(call.reward for call in below)
    if any("extrinsic_reward" in call.info for call in below):
        return
    if "extrinsic_reward" in info and info["extrinsic_reward"] != untouched:
        raise _error(
            f"info['extrinsic_reward'] to be the reward of the environment, {untouched}",
            info["extrinsic_reward"],
        )
    if "extrinsic_reward" not in info and reward != untouched:
        raise _error(
            f"the reward of the environment, {untouched}, in info['extrinsic_reward'], because the "
            f"wrapper changes it to {reward}",
            f"the keys {sorted(info)}",
        )


def _error(expected: str, got: Any, advice: str = "") -> ConformanceError:
    return ConformanceError(Point.INFO, expected, got=got, advice=advice)
