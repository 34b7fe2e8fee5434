"""Rewards, infos and calls as custom environments and their users really make them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from llm_wrappers import wrappers
from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.wrappers import vector

STATES = CriticalStates([CriticalState(state=np.zeros(2, np.float32), action=1)])


class Plain(gym.Env[Any, Any]):
    """Nothing guards it: no checker, no order of calls."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, reward: Any = 1.0, info: Callable[[], Any] = dict) -> None:
        self.reward, self.info, self.steps = reward, info, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), self.info()

    def step(self, action: Any) -> Any:
        self.steps += 1
        return np.zeros(2, np.float32), self.reward, self.steps >= 3, False, self.info()


def one_goal(facts: Any) -> Any:
    return [[("g", 1)] for _ in facts]


def with_masks(env: Any, kinds: Any = wrappers) -> Any:
    goal = kinds.GoalObservationWrapper(env, planner=one_goal, goals=["g"])
    return kinds.ActionMaskWrapper(goal, masks={"g": [0]})


def potential(states: Any) -> Any:
    return [1.0 for _ in states.facts]


WRAPS: dict[str, Callable[..., Any]] = {
    "goal": lambda env, kinds=wrappers: kinds.GoalObservationWrapper(
        env, planner=one_goal, goals=["g"]
    ),
    "mask": with_masks,
    "shift": lambda env, kinds=wrappers: kinds.RewardShiftWrapper(env, judge="constant:1"),
    "potential": lambda env, kinds=wrappers: kinds.RewardShiftWrapper(
        env, judge=potential, mode="potential", gamma=0.9
    ),
    "similarity": lambda env, kinds=wrappers: kinds.SimilarityRewardWrapper(
        env, suggester=["x"], combine="add"
    ),
    "caption": lambda env, kinds=wrappers: kinds.CaptionObservationWrapper(
        env, encoder="hashing:8"
    ),
    "recorder": lambda env, kinds=wrappers: kinds.TrajectoryRecorder(env),
    "override": lambda env, kinds=wrappers: kinds.CriticalStateOverrideWrapper(
        env, critical_states=STATES, alpha=0.0
    ),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_a_step_before_a_reset_is_said_to_be_one(wrap: Any) -> None:
    env = wrap(Plain())
    envs = wrap(gym.vector.SyncVectorEnv([Plain] * 2), vector)
    before = env.stats(), envs.stats()
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(0)
    with pytest.raises(ResetNeeded, match="call reset"):
        envs.step(np.array([0, 1]))
    assert (env.stats(), envs.stats()) == before


REWARDS = {
    "array of one": np.array([1.0]),
    "array of one by one": np.array([[1.0]]),
    "array without axes": np.array(1.0),
    "array of objects": np.array(1, dtype=object),
    "int": 1,
    "float32": np.float32(1),
    "bool": True,
    "numpy bool": np.bool_(True),
}


@pytest.mark.parametrize("reward", REWARDS.values(), ids=REWARDS)
def test_whatever_holds_one_number_is_a_reward(reward: Any) -> None:
    for name, wrap in WRAPS.items():
        env = wrap(Plain(reward))
        env.reset(seed=0)
        paid = env.step(0)[1]
        assert float(paid) == {"shift": 2.0, "potential": 0.9}.get(name, 1.0), name
        assert np.ndim(paid) == 0


def test_tensors_are_rewards() -> None:
    torch = pytest.importorskip("torch")
    for reward in (torch.tensor(1.0), torch.tensor([1.0]), torch.tensor(1.0, requires_grad=True)):
        env = WRAPS["shift"](Plain(reward))
        env.reset(seed=0)
        assert env.step(0)[1] == 2.0


@pytest.mark.parametrize("reward", [None, "x", 1j, {}, [], np.array([1.0, 2.0]), np.array([])])
def test_what_is_no_number_is_refused_as_a_reward(reward: Any) -> None:
    for wrap in (WRAPS["shift"], WRAPS["recorder"]):
        env = wrap(Plain(reward))
        env.reset(seed=0)
        with pytest.raises(IncompatibleEnvironmentError, match="expected a number as the reward"):
            env.step(0)


def test_a_reward_that_is_not_a_number_passes() -> None:
    env = WRAPS["shift"](Plain(float("nan")))
    env.reset(seed=0)
    assert np.isnan(env.step(0)[1])


def hostile_info() -> dict[Any, Any]:
    return {
        1: "a key that is a number",
        "nothing": None,
        "ragged": [[1, 2], [3]],
        "object": object(),
        "set": {1, 2},
        "nested": {"e": {"f": "g"}},
        "map": np.zeros((8, 8)),
        "episode": {"r": 1.0},
        # What Gymnasium calls things, and what we do.
        "final_info": {"x": 1},
        "final_obs": np.zeros(2),
        "goal": 5,
        "_goal": 3,
        "extrinsic_reward": "n/a",
        "executed_action": "up",
        "action_mask": np.array([1, 1], np.int8),
    }


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_any_info_passes_through_one_environment(wrap: Any) -> None:
    env = wrap(Plain(1.0, hostile_info))
    _, said = env.reset(seed=0)
    assert hostile_info().keys() <= said.keys()
    for _ in range(3):
        *_, said = env.step(0)
        assert hostile_info().keys() <= said.keys()
        # A recorder adds nothing to infos.
        assert said["extrinsic_reward"] == ("n/a" if wrap is WRAPS["recorder"] else 1.0)


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize(
    ("wrap", "inside"),
    [
        *[pytest.param(wrap, False, id=name) for name, wrap in WRAPS.items()],
        pytest.param(WRAPS["mask"], True, id="mask inside"),
        pytest.param(WRAPS["override"], True, id="override inside"),
    ],
)
def test_any_info_passes_through_many(wrap: Any, mode: Any, inside: bool) -> None:
    def make() -> Any:
        env = Plain(1.0, hostile_info)
        return wrap(env) if inside else env

    bare = gym.vector.SyncVectorEnv([make] * 2, autoreset_mode=mode)
    envs = WRAPS["shift"](bare, vector) if inside else wrap(bare, vector)
    envs.reset(seed=0)
    for _ in range(3):
        *_, infos = envs.step(np.array([0, 1]))
    if mode == AutoresetMode.DISABLED:
        envs.reset(options={"reset_mask": np.array([True, False])})
        envs.reset(options={"reset_mask": np.array([False, True])})
    *_, infos = envs.step(np.array([0, 1]))
    if inside:
        paid = 0.0 if mode == AutoresetMode.NEXT_STEP else 1.0
        assert infos["extrinsic_reward"].tolist() == [paid] * 2


@pytest.mark.parametrize("vectorised", [False, True])
def test_an_environment_goes_with_its_stack(vectorised: bool) -> None:
    kinds: Any = vector if vectorised else wrappers
    env: Any = gym.vector.SyncVectorEnv([Plain] * 2) if vectorised else Plain()
    base = weakref.ref(env)
    for wrap in WRAPS.values():
        env = wrap(env, kinds) if wrap is not WRAPS["goal"] else env
    gc.disable()
    try:
        env.reset(seed=0)
        env.step(np.array([0, 1]) if vectorised else 0)
        del env
        # At once: workers of an AsyncVectorEnv must not live until somebody collects garbage.
        assert base() is None
    finally:
        gc.enable()
