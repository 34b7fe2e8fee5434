"""Sub-environments in other processes, asked one by one."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, ClosedEnvironmentError
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3 import DQN, PPO, HerReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from vec_doubles import make_cartpole, make_toy

from llm_wrappers import RewardShiftWrapper
from llm_wrappers.sb3.vec_env import as_vec_env


def test_methods_of_sub_environments_in_other_processes_are_reached() -> None:
    vec_env = as_vec_env(AsyncVectorEnv([make_toy] * 2, context="spawn"))
    vec_env.reset()
    assert get_action_masks(vec_env).tolist() == [[True, True, True]] * 2
    assert vec_env.env_method("set_weight", 2.0) == ["weight 2.0"] * 2
    vec_env.set_attr("weight", [4.0])
    assert vec_env.get_attr("weight", indices=1) == [[4.0]]
    assert vec_env.env_method("set_weight", 3.0, indices=[1]) == ["weight 3.0"]
    vec_env.set_attr("weight", 5.0, indices=0)
    assert vec_env.get_attr("weight") == [5.0, 3.0]
    assert vec_env.get_attr("weight", indices=[1, 0]) == [3.0, 5.0]
    # Asking for what is missing must not take the workers down.
    assert not vec_env.has_attr("no_such_thing")
    with pytest.raises(AttributeError, match="no_such_thing"):
        vec_env.env_method("no_such_thing")
    vec_env.set_attr("weight", 1.0)
    vec_env.step(np.array([1, 1]))
    vec_env.close()


class Shy(gym.Wrapper[Any, Any, Any, Any]):
    """Its text raises, as that of MiniGrid's environments does before a reset."""

    def __str__(self) -> str:
        raise ValueError("not reset yet")


class MyMonitor(Monitor):
    """A monitor by another name."""


@pytest.mark.parametrize("context", ["spawn", "fork"])
def test_env_is_wrapped_looks_into_other_processes(context: str) -> None:
    make = [lambda: Shy(MyMonitor(Shy(make_toy()))), lambda: Shy(make_toy())]
    vec_env = as_vec_env(AsyncVectorEnv(make, context=context))
    assert vec_env.env_is_wrapped(Shy) == [True, True]
    assert vec_env.env_is_wrapped(Monitor) == [True, False]
    assert vec_env.env_is_wrapped(Monitor, indices=[1, 0]) == [False, True]
    assert vec_env.env_is_wrapped(gym.wrappers.TimeLimit) == [False, False]
    vec_env.reset()
    vec_env.close()


@pytest.mark.filterwarnings("ignore:.*(ERROR|WARN):UserWarning")
def test_workers_are_asked_one_by_one_as_the_environment_asks_them_all() -> None:
    envs = AsyncVectorEnv([make_toy] * 3, context="fork")
    vec_env = as_vec_env(envs)
    vec_env.reset()
    envs.step_async(np.zeros(3, int))
    with pytest.raises(AlreadyPendingCallError, match=r"step_async: call step_wait\(\)"):
        vec_env.env_method("set_weight", 1.0, indices=[0])
    envs.step_wait()
    # What a method raises is raised here, and its worker has ended, as in `AsyncVectorEnv.call`.
    with pytest.raises(TypeError, match="too_many"):
        vec_env.env_method("set_weight", 1.0, too_many=1, indices=[1])
    assert vec_env.env_method("set_weight", 2.0, indices=[2, 0]) == ["weight 2.0"] * 2
    with pytest.raises(ClosedEnvironmentError, match=r"workers \[1\].*build it anew"):
        vec_env.env_method("set_weight", 2.0)
    envs.close(terminate=True)
    with pytest.raises(ClosedEnvironmentError, match="close"):
        vec_env.env_method("set_weight", 2.0, indices=[0])


class ToGoal(BitFlippingEnv):
    """An environment with goals, whose rewards HER asks for."""

    def __init__(self) -> None:
        super().__init__(n_bits=3, continuous=False)


def test_her_trains_with_sub_environments_in_other_processes() -> None:
    vec_env = as_vec_env(AsyncVectorEnv([ToGoal] * 2, context="fork"))
    model = DQN(
        "MultiInputPolicy", vec_env, replay_buffer_class=HerReplayBuffer, buffer_size=500,
        learning_starts=20, batch_size=8, device="cpu", seed=0,
    )  # fmt: skip
    model.learn(64)
    assert model.replay_buffer is not None
    assert model.replay_buffer.size() == 32
    vec_env.close()


def make_shifted() -> gym.Env[Any, Any]:
    return RewardShiftWrapper(Monitor(make_cartpole()), judge="constant:1")


@pytest.mark.parametrize("vector", [SyncVectorEnv, AsyncVectorEnv])
def test_evaluation_reports_what_the_monitor_inside_was_paid(vector: Any) -> None:
    options = {"context": "fork"} if vector is AsyncVectorEnv else {}
    vec_env = as_vec_env(vector([make_shifted] * 2, **options))
    model = PPO("MlpPolicy", vec_env, seed=0, device="cpu")
    # A warning of a missing monitor would be an error here.
    returns, lengths = evaluate_policy(model, vec_env, 4, return_episode_rewards=True)
    assert returns == lengths
    vec_env.close()
