"""`EpisodeLogCallback` and `ProgressBarCallback`: what an episode was, written down and shown."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize
from tqdm import tqdm

from llm_wrappers import ActionMaskWrapper, GoalObservationWrapper
from llm_wrappers.sb3 import EpisodeLogCallback, ProgressBarCallback, as_vec_env
from llm_wrappers.scores import read_episodes
from llm_wrappers.wrappers import vector

PENALTY = 0.25


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Errand(gym.Env):
    """Episodes of random length that end both ways; half a point for each act, and deeds."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0, 100, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps, self.acts = 0, 0
        self.length = int(self.np_random.integers(2, 9))
        return self._observation(), self._info()

    def step(self, action: Any) -> Any:
        self.steps += 1
        self.acts += int(action == 2)
        over = self.steps >= self.length
        reward = 0.5 * int(action)
        return self._observation(), reward, over and action == 1, over, self._info()

    def _info(self) -> dict[str, Any]:
        return {"achievements": {"act": self.acts, "last": int(self.steps >= 6)}}

    def _observation(self) -> Any:
        return np.array([self.steps], np.float32)


def planner(facts: Any) -> Any:
    return [[("rest", 1.0)] for _ in facts]


def make_penalised() -> gym.Env:
    env = GoalObservationWrapper(Monitor(Errand()), planner=planner, goals=["rest"])
    return ActionMaskWrapper(env, masks={"rest": [0]}, enforce="penalty", penalty=PENALTY)


def make_vector(n: int = 3) -> SyncVectorEnv:
    return SyncVectorEnv([Errand] * n, autoreset_mode=AutoresetMode.SAME_STEP)


def make_penalised_vector(n: int = 3) -> Any:
    envs = vector.GoalObservationWrapper(make_vector(n), planner=planner, goals=["rest"])
    return vector.ActionMaskWrapper(envs, masks={"rest": [0]}, enforce="penalty", penalty=PENALTY)


def small_ppo(vec_env: Any, policy: str = "MlpPolicy") -> PPO:
    return PPO(policy, vec_env, n_steps=32, batch_size=32, n_epochs=1, seed=0)


def monitored(path: Path) -> list[tuple[int, float]]:
    """Return the lengths and returns that SB3 wrote to a monitor file."""
    lines = path.read_text().splitlines()[1:]
    return [(int(row["l"]), float(row["r"])) for row in csv.DictReader(lines)]


def logged(path: Path) -> list[tuple[int, float]]:
    return [(episode["length"], episode["reward"]) for episode in read_episodes(path)]


class Tally(BaseCallback):
    """Sums the rewards that the algorithm learns from, in each episode; knows what infos said."""

    def __init__(self) -> None:
        super().__init__()
        self.returns: list[float] = []
        self.extrinsic: list[tuple[int, float]] = []

    def _on_training_start(self) -> None:
        self.sums = np.zeros(self.training_env.num_envs)

    def _on_step(self) -> bool:
        self.sums += self.locals["rewards"]
        for index in np.flatnonzero(self.locals["dones"]):
            self.returns.append(self.sums[index])
            self.sums[index] = 0
            episode = self.locals["infos"][index].get("episode")
            if episode is not None:
                self.extrinsic.append((episode["l"], episode["r"]))
        return True


class StopAt(BaseCallback):
    """Raises at a step, as Ctrl-C does."""

    def __init__(self, call: int, error: BaseException) -> None:
        super().__init__()
        self.call, self.error = call, error

    def _on_step(self) -> bool:
        if self.n_calls == self.call:
            raise self.error
        return True


@pytest.mark.parametrize("kind", ["dummy", "vector"])
@pytest.mark.parametrize("algorithm", [PPO, DQN])
def test_each_episode_is_what_the_monitor_says(tmp_path: Path, kind: str, algorithm: Any) -> None:
    base: VecEnv = DummyVecEnv([Errand] * 3) if kind == "dummy" else as_vec_env(make_vector())
    vec_env = VecMonitor(base, str(tmp_path / "monitor.csv"))
    if algorithm is PPO:
        model = small_ppo(vec_env)
    else:
        model = DQN("MlpPolicy", vec_env, buffer_size=100, learning_starts=30, seed=0)
    path = tmp_path / "stats.jsonl"
    model.learn(200, callback=EpisodeLogCallback(path))
    vec_env.close()
    assert logged(path) == monitored(tmp_path / "monitor.csv")
    assert len(logged(path)) > 20
    ends = [episode["env_steps"] for episode in read_episodes(path)]
    assert ends == sorted(ends)
    assert all(steps % 3 == 0 for steps in ends)
    assert ends[-1] <= model.num_timesteps


def test_achievements_are_those_of_the_last_step(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    seen = []

    class Reader(BaseCallback):
        def _on_step(self) -> bool:
            seen.extend(
                {f"achievement_{name}": count for name, count in info["achievements"].items()}
                for info, done in zip(self.locals["infos"], self.locals["dones"], strict=True)
                if done
            )
            return True

    small_ppo(as_vec_env(make_vector())).learn(96, callback=[EpisodeLogCallback(path), Reader()])
    records = read_episodes(path)
    assert [
        {key: value for key, value in record.items() if key.startswith("achievement_")}
        for record in records
    ] == seen
    assert any(record["achievement_act"] > 1 for record in records)
    # Not those of the next episode, which has begun already: it has taken no steps.
    assert all(record["achievement_last"] == (record["length"] >= 6) for record in records)
    assert {record["achievement_last"] for record in records} == {0, 1}


def test_keys_are_in_the_order_of_the_official_recorder(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    small_ppo(DummyVecEnv([Errand])).learn(32, callback=EpisodeLogCallback(path))
    first = json.loads(path.read_text().splitlines()[0])
    assert list(first) == ["length", "reward", "achievement_act", "achievement_last", "env_steps"]


def test_an_environment_without_achievements(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    small_ppo(gym.make("CartPole-v1")).learn(64, callback=EpisodeLogCallback(path))
    assert logged(path)
    # CartPole pays 1 for each step.
    assert all(length == reward for length, reward in logged(path))


def test_a_penalty_is_not_part_of_the_return(tmp_path: Path) -> None:
    path, tally = tmp_path / "stats.jsonl", Tally()
    model = small_ppo(DummyVecEnv([make_penalised] * 3), "MultiInputPolicy")
    model.learn(96, callback=[EpisodeLogCallback(path), tally])
    assert logged(path) == tally.extrinsic
    guided = np.array([reward for _, reward in logged(path)]) - np.array(tally.returns)
    assert (guided >= 0).all()
    assert guided.sum() > 10 * PENALTY


def test_a_penalty_of_a_vector_wrapper_is_not_part_of_the_return(tmp_path: Path) -> None:
    path, tally, own = tmp_path / "stats.jsonl", Tally(), tmp_path / "monitor.csv"
    model = small_ppo(VecMonitor(as_vec_env(make_penalised_vector()), str(own)), "MultiInputPolicy")
    model.learn(96, callback=[EpisodeLogCallback(path), tally])
    model.get_env().close()
    guided = monitored(own)
    assert [length for length, _ in logged(path)] == [length for length, _ in guided]
    for (_, extrinsic), (_, reward) in zip(logged(path), guided, strict=True):
        # Of the environment itself: multiples of one half.
        assert extrinsic % 0.5 == 0
        assert (extrinsic - reward) % PENALTY == pytest.approx(0)
    assert sum(reward for _, reward in logged(path)) > sum(reward for _, reward in guided)


def test_normalised_rewards_are_not_written_down(tmp_path: Path) -> None:
    monitor = VecMonitor(DummyVecEnv([Errand] * 2), str(tmp_path / "monitor.csv"))
    path, tally = tmp_path / "stats.jsonl", Tally()
    model = small_ppo(VecNormalize(monitor))
    model.learn(64, callback=[EpisodeLogCallback(path), tally])
    model.get_env().close()
    assert logged(path) == monitored(tmp_path / "monitor.csv")
    assert not np.allclose([reward for _, reward in logged(path)], tally.returns)


def test_training_that_goes_on_in_the_middle_of_episodes(tmp_path: Path) -> None:
    vec_env = VecMonitor(DummyVecEnv([Errand] * 3), str(tmp_path / "monitor.csv"))
    model, path = small_ppo(vec_env), tmp_path / "stats.jsonl"
    callback = EpisodeLogCallback(path)
    for _ in range(3):
        model.learn(96, callback=callback, reset_num_timesteps=False)
    vec_env.close()
    assert logged(path) == monitored(tmp_path / "monitor.csv")
    assert callback.episodes == len(logged(path))


def test_training_that_starts_again_drops_the_episodes_it_cuts_off(tmp_path: Path) -> None:
    vec_env = VecMonitor(DummyVecEnv([Errand] * 3), str(tmp_path / "monitor.csv"))
    model, path = small_ppo(vec_env), tmp_path / "stats.jsonl"
    callback = EpisodeLogCallback(path)
    for _ in range(3):
        model.learn(96, callback=callback)
    vec_env.close()
    assert logged(path) == monitored(tmp_path / "monitor.csv")


def test_means_are_logged(tmp_path: Path) -> None:
    callback = EpisodeLogCallback(tmp_path / "stats.jsonl")
    model = small_ppo(DummyVecEnv([Errand] * 3))
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(96, callback=callback)
    model.logger.close()
    (row,) = csv.DictReader((tmp_path / "progress.csv").read_text().splitlines())
    records = read_episodes(tmp_path / "stats.jsonl")
    unlocked = [
        sum(value > 0 for key, value in record.items() if key.startswith("achievement_"))
        for record in records
    ]
    assert float(row["rollout/achievements"]) == pytest.approx(np.mean(unlocked))
    assert float(row["rollout/extrinsic_return"]) == pytest.approx(
        np.mean([record["reward"] for record in records])
    )


def test_only_the_last_hundred_episodes_count_as_recent(tmp_path: Path) -> None:
    callback = EpisodeLogCallback(tmp_path / "stats.jsonl")
    small_ppo(DummyVecEnv([Errand] * 8)).learn(768, callback=callback)
    returns = [reward for _, reward in logged(tmp_path / "stats.jsonl")]
    assert len(returns) > 120
    assert list(callback.recent_returns) == returns[-100:]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("the environment broke")])
def test_an_exception_loses_nothing(tmp_path: Path, error: BaseException) -> None:
    vec_env = VecMonitor(DummyVecEnv([Errand] * 3), str(tmp_path / "monitor.csv"))
    path = tmp_path / "stats.jsonl"
    log = EpisodeLogCallback(path)
    with pytest.raises(type(error)):
        small_ppo(vec_env).learn(400, callback=[log, StopAt(50, error)])
    # Before anything is closed: each line was written out when its episode ended.
    assert logged(path) == monitored(tmp_path / "monitor.csv")
    assert len(logged(path)) >= 15
    log.close()
    vec_env.close()


def test_a_log_that_was_closed_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    log = EpisodeLogCallback(path)
    model = small_ppo(DummyVecEnv([Errand]))
    with pytest.raises(KeyboardInterrupt):
        model.learn(400, callback=[log, StopAt(20, KeyboardInterrupt())])
    log.close()
    before = logged(path)
    model.learn(32, callback=log)
    assert logged(path)[: len(before)] == before
    assert len(logged(path)) > len(before) > 0


def test_the_bar_shows_what_the_log_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = EpisodeLogCallback(tmp_path / "stats.jsonl")
    bar = ProgressBarCallback("sgrl, seed 3", log)
    small_ppo(DummyVecEnv([Errand] * 2)).learn(128, callback=[log, bar])
    out, err = capsys.readouterr()
    assert out == ""
    last = err.split("\r")[-1]
    assert "sgrl, seed 3: 100%" in last
    assert "128/128" in last
    assert f"episodes={log.episodes}" in last
    assert f"return={np.mean(log.recent_returns):.2f}" in last
    assert f"achievements={np.mean(log.recent_achievements):.2f}" in last
    assert not tqdm._instances


def test_the_bar_ends_full_where_the_last_rollout_goes_past_the_total(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = EpisodeLogCallback(tmp_path / "stats.jsonl")
    model = small_ppo(DummyVecEnv([Errand] * 2))
    model.learn(101, callback=[log, ProgressBarCallback("one", log)])
    assert "101/101" in capsys.readouterr().err.split("\r")[-1]
    # Training that goes on shows the steps of this call.
    model.learn(64, reset_num_timesteps=False, callback=[log, ProgressBarCallback("two", log)])
    assert "two: 100%" in (last := capsys.readouterr().err.split("\r")[-1])
    assert "64.0/64.0" in last


def test_the_bar_can_be_closed_after_an_exception(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = EpisodeLogCallback(tmp_path / "stats.jsonl")
    bar = ProgressBarCallback("broken", log)
    bar.close()  # never shown
    with pytest.raises(KeyboardInterrupt):
        small_ppo(DummyVecEnv([Errand] * 2)).learn(
            200, callback=[log, bar, StopAt(40, KeyboardInterrupt())]
        )
    assert len(tqdm._instances) == 1
    bar.close()
    assert not tqdm._instances
    assert capsys.readouterr().err.endswith("\n")
    bar.close()
    log.close()
