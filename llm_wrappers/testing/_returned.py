"""Points 4, 8 and 9: what a wrapper returns, and what it leaves as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers.testing._difference import Difference, difference, shared_part
from llm_wrappers.testing._subject import AnyEnv, Call, Probe, Subject, require_alike
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["check_fresh_objects", "check_info", "check_neutral"]

_POINT = Point.FRESH_OBJECTS
_KEPT = 20


def check_fresh_objects(subject: Subject) -> None:
    """Nothing returned is shared with an earlier call, and nothing given is changed."""
    probe = Probe(subject.make_env())
    spaces = deepcopy((probe.observation_space, probe.action_space))
    env = subject.factory(probe)
    watch = _Watch(env, probe, subject)
    watch.reset()
    for action in subject.actions():
        if watch.step(action):
            watch.reset()
    if (probe.observation_space, probe.action_space) != spaces:
        raise ConformanceError(
            _POINT,
            f"the spaces below to stay {spaces}",
            got=str((probe.observation_space, probe.action_space)),
            advice="set new spaces on the wrapper instead of changing those of the environment",
        )


class _Watch:
    """Calls the environment and looks at what it did to its arguments and results."""

    def __init__(self, env: AnyEnv, probe: Probe, subject: Subject) -> None:
        self._env = env
        self._probe = probe
        self._readings = [name for name in subject.readings if env.has_wrapper_attr(name)]
        # The very objects, which keeps their memory from being given to later ones.
        self._returned: list[Any] = []

    def reset(self) -> None:
        options: dict[str, Any] = {}
        observation, info = self._env.reset(options=options)
        if options:
            raise ConformanceError(_POINT, "reset to leave the options as they are", got=options)
        self._look_at(observation, info)

    def step(self, action: Any) -> bool:
        given = deepcopy(action)
        observation, _, terminated, truncated, info = self._env.step(given)
        found = difference(action, given, "action")
        require_alike(_POINT, "step to leave the action as it is", found, "change a copy of it")
        self._look_at(observation, info)
        return bool(terminated or truncated)

    def _look_at(self, observation: Any, info: dict[str, Any]) -> None:
        self._probe.look()
        require_alike(
            _POINT,
            "the observation and info of the environment below to stay as they were returned",
            self._probe.changed,
            "build new ones, such as {**info, ...}",
        )
        read = {f"{name}()": self._read(name) for name in self._readings}
        returned = {"observation": observation, "info": info, **read}
        # What the environment below shares between its own calls is not the wrapper's doing.
        below = [call.result for call in self._probe.calls[-_KEPT:]]
        for name, data in returned.items():
            part = shared_part(data, self._returned, allowed=below)
            if part is not None:
                raise ConformanceError(
                    _POINT,
                    "new objects from each call",
                    got=f"memory of an earlier call in {name}{part if part != 'it' else ''}",
                    advice="return a copy",
                )
        self._returned = [*self._returned[-3 * _KEPT :], *returned.values()]

    def _read(self, name: str) -> Any:
        method = self._env.get_wrapper_attr(name)
        first, second = method(), method()
        found = difference(first, second, f"{name}()")
        require_alike(
            _POINT,
            f"{name}() to return the same each time it is called in one step",
            found,
            "draw in reset and step, and return a copy of what was drawn",
        )
        if shared_part(first, [second]) is not None:
            raise ConformanceError(
                _POINT,
                f"{name}() to return a new object each time",
                got="the same one twice",
                advice="return a copy",
            )
        return first


# --- point 8 ---

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

_error = partial(ConformanceError, Point.INFO)
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
        raise _error("the info to be a dict", got=f"a {type(info).__name__}")
    lost = sorted(str(key) for key in below.info.keys() - info.keys())
    if lost:
        raise _error(f"every key of the info below to be kept, also {lost}", got=sorted(info))
    added = {key: value for key, value in info.items() if key not in below.info}
    for key in added:
        if not isinstance(key, str) or not key:
            raise _error("keys that are non-empty strings", got=key)
        if key.startswith("_"):
            raise _error(
                "no key that begins with '_'",
                got=key,
                advice="vector environments keep the mask of 'key' in '_key'",
            )
        if key in RESERVED:
            raise _error(
                f"no key among {sorted(RESERVED)}", got=key, advice="other packages write there"
            )
    return {key: _checked_type(key, value) for key, value in added.items()}


def _checked_type(key: str, value: Any) -> str:
    if isinstance(value, np.ndarray):
        if value.dtype == object or value.size > _MOST_VALUES:
            raise _error(
                f"info[{key!r}] to have at most {_MOST_VALUES} plain values",
                got=f"{value.size} of {value.dtype}",
                advice="infos are copied at every step",
            )
        return f"{value.dtype} {value.shape}"
    try:
        length = len(json.dumps(value))
    except (TypeError, ValueError):
        raise _error(
            f"info[{key!r}] to be a number, a string, a small array or what JSON can hold",
            got=f"a {type(value).__name__}",
        ) from None
    if length > _LONGEST_JSON:
        raise _error(f"info[{key!r}] to be short", got=f"{length} characters of JSON")
    return type(value).__name__


def _check_same(types: dict[str, str], now: dict[str, str], when: str) -> None:
    if types.keys() != now.keys():
        raise _error(
            f"the keys added at the first reset, {sorted(types)}, at each call, so in {when}",
            got=str(sorted(now)),
            advice="give a key a neutral value where it has no meaning",
        )
    for key, kind in types.items():
        if now[key] != kind:
            raise _error(f"info[{key!r}] to be of type {kind} in {when} too", got=now[key])


def _check_reward(info: dict[str, Any], reward: float, below: Sequence[Call]) -> None:
    # A wrapper may step more than once, and then adds up.
    untouched = sum(call.reward for call in below)
    if any("extrinsic_reward" in call.info for call in below):
        return
    if "extrinsic_reward" in info and info["extrinsic_reward"] != untouched:
        raise _error(
            f"info['extrinsic_reward'] to be the reward of the environment, {untouched}",
            got=info["extrinsic_reward"],
        )
    if "extrinsic_reward" not in info and reward != untouched:
        raise _error(
            f"the reward of the environment, {untouched}, in info['extrinsic_reward'], because the "
            f"wrapper changes it to {reward}",
            got=f"the keys {sorted(info)}",
        )


# --- point 9 ---


def check_neutral(subject: Subject) -> None:
    """With neutral settings only what the wrapper adds is new; all else passes through."""
    if subject.neutral is None:
        subject.skip(Point.NEUTRAL, "no factory with neutral settings was given")
        return
    env, probe = subject.probed(subject.neutral)
    if env.action_space != probe.action_space:
        raise ConformanceError(
            Point.NEUTRAL, f"the action space to stay {probe.action_space}", got=env.action_space
        )
    observation, info = env.reset(seed=subject.seed)
    _compare(env, probe, observation, info)
    over = False
    for action in subject.actions():
        if over:
            observation, info = env.reset()
            over = False
        else:
            calls = len(probe.calls)
            observation, *told, info = env.step(action)
            _compare_step(probe, calls, action, told)
            over = bool(told[1] or told[2])
        _compare(env, probe, observation, info)


def _compare_step(probe: Probe, calls: int, action: Any, got: Sequence[Any]) -> None:
    if len(probe.calls) != calls + 1:
        raise ConformanceError(
            Point.NEUTRAL, "one step below for each step", got=f"{len(probe.calls) - calls} calls"
        )
    call = probe.calls[-1]
    kinds: dict[str, type] = {"reward": float, "terminated": bool, "truncated": bool}
    for (name, kind), below, above in zip(kinds.items(), call.copy[1:4], got, strict=True):
        _require(difference(kind(below), kind(above), name))
    _require(difference(np.asarray(action), np.asarray(call.given["action"]), "the action below"))


def _compare(env: AnyEnv, probe: Probe, observation: Any, info: dict[str, Any]) -> None:
    call = probe.calls[-1]
    shown = {key: info[key] for key in call.info if key in info}
    _require(difference(call.info, shown, "info"))
    _require(_observation_difference(probe, call.copy[0], observation))
    if env.has_wrapper_attr("action_masks"):
        mask = env.get_wrapper_attr("action_masks")()
        below = probe.has_wrapper_attr("action_masks")
        expected = probe.get_wrapper_attr("action_masks")() if below else np.ones_like(mask)
        _require(difference(np.asarray(expected), np.asarray(mask), "action_masks()"))


def _observation_difference(probe: Probe, below: Any, shown: Any) -> Difference | None:
    if not isinstance(shown, dict):
        return difference(below, shown, "observation")
    if isinstance(probe.observation_space, gym.spaces.Dict):
        kept = {key: shown[key] for key in below if key in shown}
        return difference(below, kept, "observation")
    # A wrapper that adds to an observation that is no Dict keeps it under a key.
    found = [difference(below, value, f"observation[{key!r}]") for key, value in shown.items()]
    return None if None in found else found[0]


def _require(found: Difference | None) -> None:
    require_alike(Point.NEUTRAL, "neutral settings to change nothing", found)
