"""Returns and lengths of episodes, counted by the bridge where nobody below does."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorWrapper
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor
from vec_doubles import MODES, make_cartpole, make_toy, pop_episodes

from llm_wrappers.sb3.vec_env import as_vec_env


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_episodes_are_counted_where_nobody_below_does(mode: Any, kind: str) -> None:
    vector: Any = SyncVectorEnv if kind == "sync" else AsyncVectorEnv
    options = {} if kind == "sync" else {"context": "fork"}
    expected = DummyVecEnv([lambda: Monitor(make_toy())] * 2)
    got = as_vec_env(vector([make_toy] * 2, autoreset_mode=mode, **options))
    expected.seed(3)
    got.seed(3)
    found = 0
    for _ in range(3):
        expected.reset()
        got.reset()  # in the middle of an episode: what was played of it is forgotten
        for step in range(20):
            action = np.array([step % 3, 1])
            one, two = pop_episodes(expected.step(action)[3]), pop_episodes(got.step(action)[3])
            for left, right in zip(one, two, strict=True):
                found += 1
                assert type(right["r"]) is float
                assert type(right["l"]) is int
                assert type(right["t"]) is float
                assert (left["r"], left["l"]) == (right["r"], right["l"])
    assert found > 10
    got.close()


def test_rewards_are_logged_in_the_form_of_the_readme() -> None:
    model = PPO("MlpPolicy", as_vec_env(SyncVectorEnv([make_cartpole] * 2)), n_steps=32, seed=0)
    model.learn(128)
    assert [episode["l"] for episode in model.ep_info_buffer]
    assert all(episode["r"] == episode["l"] for episode in model.ep_info_buffer)


class TwoLives(gym.Wrapper[Any, Any, Any, Any]):
    """Ends an episode after each step, as a lost life does; the monitor inside goes on."""

    def reset(self, **kwargs: Any) -> Any:
        if getattr(self, "_over", True):
            self._seen = self.env.reset(**kwargs)
        return self._seen

    def step(self, action: Any) -> Any:
        seen, reward, terminated, truncated, info = self.env.step(action)
        self._over = terminated or truncated
        self._seen = seen, {}
        return seen, reward, True, False, info


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_monitor_below_decides_when_an_episode_is_over(kind: str) -> None:
    vector: Any = SyncVectorEnv if kind == "sync" else AsyncVectorEnv
    options = {} if kind == "sync" else {"context": "fork"}
    makes = [lambda: TwoLives(Monitor(make_cartpole())), lambda: TwoLives(make_cartpole())]
    vec_env = as_vec_env(vector(makes, autoreset_mode=AutoresetMode.SAME_STEP, **options))
    vec_env.reset()
    lengths: list[list[int]] = [[], []]
    for _ in range(25):
        infos = vec_env.step(np.ones(2, int))[3]
        for row, info in zip(lengths, infos, strict=True):
            row += [info["episode"]["l"]] if "episode" in info else []
    assert lengths[1] == [1] * 25
    assert 1 <= len(lengths[0]) < 5
    assert min(lengths[0]) > 5
    vec_env.close()


def test_a_vec_monitor_around_the_bridge_has_the_last_word() -> None:
    vec_env = VecMonitor(as_vec_env(SyncVectorEnv([make_toy] * 2)), info_keywords=("drawn",))
    vec_env.reset()
    finished: list[Any] = []
    for _ in range(25):
        finished += pop_episodes(vec_env.step(np.ones(2, int))[3])
    assert finished
    assert all(episode["drawn"] == episode["l"] for episode in finished)


class PaysInColumns(VectorWrapper):
    """Rewards of shape (n, 1), as some environments have them."""

    def step(self, actions: Any) -> Any:
        seen, rewards, *rest = self.env.step(actions)
        return seen, rewards[:, None], *rest


def test_rewards_in_a_column_are_rewards_of_each() -> None:
    envs: Any = SyncVectorEnv([make_cartpole] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    vec_env = as_vec_env(PaysInColumns(envs))
    vec_env.reset()
    finished: list[Any] = []
    for _ in range(25):
        _, rewards, _, infos = vec_env.step(np.ones(2, int))
        assert rewards.tolist() == [1.0, 1.0]
        finished += pop_episodes(infos)
    assert finished
    assert all(episode["r"] == episode["l"] for episode in finished)
