"""A schedule that nobody drives is said, and can be put at its end from outside."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from llm_wrappers import ActionMaskWrapper, GoalObservationWrapper, RewardShiftWrapper
from llm_wrappers.errors import GuidanceWarning, InvalidOptionError
from llm_wrappers.testing import make_scripted_env
from llm_wrappers.wrappers import vector

FADING = {"kind": "linear", "start": 1.0, "end": 0.0}


def left(facts: Any) -> Any:
    return [[("go left", 1.0)] for _ in facts]


def fading(**options: Any) -> ActionMaskWrapper:
    env = GoalObservationWrapper(make_scripted_env(), planner=left, goals=["go left"])
    return ActionMaskWrapper(env, masks={"go left": [0]}, **{"schedule": FADING, **options})


def play(env: Any, steps: int = 300) -> None:
    env.reset(seed=0)
    for _ in range(steps):
        *_, terminated, truncated, _ = env.step(0)
        if terminated or truncated:
            env.reset()


def test_a_schedule_that_nobody_drives_is_said_once() -> None:
    env = fading()
    with pytest.warns(GuidanceWarning, match="nobody told ActionMaskWrapper") as said:
        play(env, 600)
    assert len([each for each in said if "nobody told" in str(each.message)]) == 1
    assert env.stats()["xi"] == 1.0


def test_it_is_said_of_many_environments_too() -> None:
    envs = gym.vector.SyncVectorEnv([make_scripted_env] * 2)
    shifted = vector.RewardShiftWrapper(envs, judge="constant:1", schedule=FADING)
    shifted.reset(seed=0)

    def many_steps() -> None:
        for _ in range(200):
            shifted.step(np.zeros(2, dtype=int))

    with pytest.warns(GuidanceWarning, match="nobody told RewardShiftWrapper"):
        many_steps()


@pytest.mark.parametrize(
    ("options", "progress"),
    [({"schedule": 0.5}, None), ({}, 0.25), ({"schedule": {"kind": "adaptive"}}, None)],
    ids=["constant", "told", "adaptive"],
)
def test_where_nothing_is_to_be_told_nothing_is_said(options: Any, progress: Any) -> None:
    env = fading(**options)
    if progress is not None:
        env.set_progress(progress)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        play(env)


def test_a_variable_puts_schedules_at_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_WRAPPERS_PROGRESS", "1")
    env = fading()
    shifted = RewardShiftWrapper(env, judge="constant:1", schedule=FADING)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        play(shifted)
    assert env.stats()["xi"] == shifted.stats()["weight"] == 0.0
    shifted.set_progress(0.5)
    assert env.stats()["xi"] == shifted.stats()["weight"] == 0.5


@pytest.mark.parametrize("value", ["2", "-0.1", "end", "", "nan"])
def test_a_variable_that_is_no_progress_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_WRAPPERS_PROGRESS", value)
    with pytest.raises(InvalidOptionError, match="LLM_WRAPPERS_PROGRESS must be a number in"):
        fading()
