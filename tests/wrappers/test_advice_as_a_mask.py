"""Advice that is a mask: what `info` says of it, and what is executed for closed actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from llm_wrappers import ActionMaskWrapper, CriticalStateOverrideWrapper, GoalObservationWrapper
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.wrappers import vector

# In each state that can be reached from the start, to go down is advised.
TABLE = CriticalStates([CriticalState(state, 1) for state in range(15)], key="exact")
MASKS = {"go down": ["down", "right"]}


def go_down(facts: Any) -> Any:
    return [[("go down", 1.0)] for _ in facts]


def stacked(order: Sequence[str], env: Any, *, enforce: str = "mask") -> Any:
    kinds: Any = vector
    if isinstance(env, gym.Env):
        kinds = None
    with_goal = kinds.GoalObservationWrapper if kinds else GoalObservationWrapper
    with_mask = kinds.ActionMaskWrapper if kinds else ActionMaskWrapper
    advising = kinds.CriticalStateOverrideWrapper if kinds else CriticalStateOverrideWrapper
    for name in order:
        if name == "advice":
            env = advising(env, critical_states=TABLE, probability=1.0, advice="mask")
        else:
            env = with_goal(env, planner=go_down, goals=["go down"])
            env = with_mask(env, masks=MASKS, enforce=enforce)
    return env


ORDERS = [("mask", "advice"), ("advice", "mask")]


@pytest.mark.parametrize("order", ORDERS)
def test_info_says_what_the_masks_of_the_stack_say(order: Sequence[str]) -> None:
    env = stacked(order, gym.make("FrozenLake-v1", is_slippery=False))
    _, info = env.reset(seed=0)
    assert info["action_mask"].tolist() == [0, 1, 0, 0]
    *_, info = env.step(1)
    assert info["action_mask"].tolist() == env.action_masks().tolist() == [0, 1, 0, 0]
    env.step(1)
    *_, terminated, _, info = env.step(2)
    assert not terminated
    assert info["action_mask"].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("order", ORDERS)
def test_info_says_it_in_vector_environments_too(order: Sequence[str]) -> None:
    envs = gym.make_vec("FrozenLake-v1", num_envs=3, vectorization_mode="sync", is_slippery=False)
    envs = stacked(order, envs)
    _, infos = envs.reset(seed=0)
    for action in (1, 1, 1):
        assert np.array_equal(infos["action_mask"], envs.action_masks())
        *_, infos = envs.step(np.full(3, action))


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_drawn_for_a_closed_action_is_what_is_advised(order: Sequence[str]) -> None:
    env = stacked(order, gym.make("FrozenLake-v1", is_slippery=False), enforce="resample")
    for seed in range(8):
        env.reset(seed=seed)
        *_, info = env.step(3)
        assert info["executed_action"] == 1


def test_nobody_acts_in_the_last_state() -> None:
    env = stacked(("mask", "advice"), gym.make("FrozenLake-v1", is_slippery=False))
    env.reset(seed=0)
    env.step(1)
    *_, terminated, _, info = env.step(2)
    assert terminated
    assert info["action_mask"].tolist() == [1, 1, 1, 1]
