"""Point 9: neutral settings change nothing."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers.testing._difference import Difference, difference
from llm_wrappers.testing._rollout import AnyEnv, Probe
from llm_wrappers.testing._subject import Subject, fail
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["check_neutral"]


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
            observation, reward, terminated, truncated, info = env.step(action)
            _compare_step(probe, calls, action, (float(reward), bool(terminated), bool(truncated)))
            over = bool(terminated or truncated)
        _compare(env, probe, observation, info)


def _compare_step(probe: Probe, calls: int, action: Any, got: tuple[float, bool, bool]) -> None:
    if len(probe.calls) != calls + 1:
        raise ConformanceError(
            Point.NEUTRAL, "one step below for each step", got=f"{len(probe.calls) - calls} calls"
        )
    call = probe.calls[-1]
    _, reward, terminated, truncated, _ = call.copy
    expected = (float(reward), bool(terminated), bool(truncated))
    names = ("reward", "terminated", "truncated")
    _raise_if(
        difference(dict(zip(names, expected, strict=True)), dict(zip(names, got, strict=True)))
    )
    _raise_if(difference(np.asarray(action), np.asarray(call.given["action"]), "the action below"))


def _compare(env: AnyEnv, probe: Probe, observation: Any, info: dict[str, Any]) -> None:
    call = probe.calls[-1]
    shown = {key: info[key] for key in call.info if key in info}
    _raise_if(difference(call.info, shown, "info"))
    _raise_if(_observation_difference(probe, call.observation, observation))
    if env.has_wrapper_attr("action_masks"):
        mask = env.get_wrapper_attr("action_masks")()
        below = probe.has_wrapper_attr("action_masks")
        expected = probe.get_wrapper_attr("action_masks")() if below else np.ones_like(mask)
        _raise_if(difference(np.asarray(expected), np.asarray(mask), "action_masks()"))


def _observation_difference(probe: Probe, below: Any, shown: Any) -> Difference | None:
    if not isinstance(shown, dict):
        return difference(below, shown, "observation")
    if isinstance(probe.observation_space, gym.spaces.Dict):
        kept = {key: shown[key] for key in below if key in shown}
        return difference(below, kept, "observation")
    # A wrapper that adds to an observation that is no Dict keeps it under a key.
    found = [difference(below, value, f"observation[{key!r}]") for key, value in shown.items()]
    return None if None in found else found[0]


def _raise_if(found: Difference | None) -> None:
    if found is not None:
        raise fail(Point.NEUTRAL, "neutral settings to change nothing", found)
