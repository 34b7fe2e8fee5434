"""`EpisodeLogCallback` and `ProgressBarCallback`: what an episode was, written down and shown."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize
from tqdm import tqdm

from llm_wrappers.sb3 import EpisodeLogCallback, ProgressBarCallback, as_vec_env
from llm_wrappers.scores import read_episodes
from llm_wrappers.wrappers import vector

PENALTY = 0.25


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


class StopAt(BaseCallback):
    """Raises at a step, as Ctrl-C does."""

    def __init__(self, call: int, error: BaseException) -> None:
        super().__init__()
        self.call, self.error = call, error

    def _on_step(self) -> bool:
        if self.n_calls == self.call:
            raise self.error
        return True


KINDS = {
    "dummy": lambda: DummyVecEnv([Errand] * 3),
    "vector": lambda: as_vec_env(make_vector()),
    "penalised": lambda: as_vec_env(make_penalised_vector()),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("algorithm", [PPO, DQN])
def test_each_episode_is_what_the_monitor_says(tmp_path: Path, kind: str, algorithm: Any) -> None:
    vec_env = VecMonitor(KINDS[kind](), str(tmp_path / "monitor.csv"))
    policy = "MultiInputPolicy" if kind == "penalised" else "MlpPolicy"
    if algorithm is PPO:
        model = small_ppo(vec_env, policy)
    else:
        model = DQN(policy, vec_env, buffer_size=100, learning_starts=30, seed=0)
    path = tmp_path / "stats.jsonl"
    model.learn(200, callback=EpisodeLogCallback(path))
    vec_env.close()
    watched = monitored(tmp_path / "monitor.csv")
    assert [length for length, _ in logged(path)] == [length for length, _ in watched]
    guided = [
        extrinsic - reward
        for (_, extrinsic), (_, reward) in zip(logged(path), watched, strict=True)
    ]
    if kind == "penalised":
        # A penalty is not part of the return: that of the environment has multiples of one half.
        assert all(extrinsic % 0.5 == 0 for _, extrinsic in logged(path))
        assert all(each % PENALTY == pytest.approx(0) for each in guided)
        assert sum(guided) > 10 * PENALTY
    else:
        assert not any(guided)
    records = read_episodes(path)
    assert len(records) > 20
    assert list(records[0]) == [
        "length", "reward", "achievement_act", "achievement_last", "env_steps",
    ]  # fmt: skip
    ends = [record["env_steps"] for record in records]
    assert ends == sorted(ends)
    assert all(steps % 3 == 0 for steps in ends)
    assert ends[-1] <= model.num_timesteps


def test_normalised_rewards_are_not_written_down_and_achievements_are_not_needed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "stats.jsonl"
    vec_env = VecNormalize(DummyVecEnv([lambda: gym.make("CartPole-v1")] * 2))
    small_ppo(vec_env).learn(128, callback=EpisodeLogCallback(path))
    # CartPole pays 1 for each step.
    assert logged(path)
    assert all(length == reward for length, reward in logged(path))


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


@pytest.mark.parametrize("goes_on", [True, False])
def test_several_trainings_drop_only_the_episodes_that_are_cut_off(
    tmp_path: Path, goes_on: bool
) -> None:
    vec_env = VecMonitor(DummyVecEnv([Errand] * 3), str(tmp_path / "monitor.csv"))
    model, path = small_ppo(vec_env), tmp_path / "stats.jsonl"
    callback = EpisodeLogCallback(path)
    for _ in range(2):
        model.learn(96, callback=callback, reset_num_timesteps=not goes_on)
    vec_env.close()
    assert logged(path) == monitored(tmp_path / "monitor.csv")
    assert callback.episodes == len(logged(path))


def test_means_of_the_last_hundred_are_logged(tmp_path: Path) -> None:
    callback = EpisodeLogCallback(tmp_path / "stats.jsonl")
    model = small_ppo(DummyVecEnv([Errand] * 8))
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(768, callback=callback)
    model.logger.close()
    *_, row = csv.DictReader((tmp_path / "progress.csv").read_text().splitlines())
    records = read_episodes(tmp_path / "stats.jsonl")
    assert len(records) > 120
    last = records[-100:]
    returns = [record["reward"] for record in last]
    unlocked = [(r["achievement_act"] > 0) + (r["achievement_last"] > 0) for r in last]
    assert list(callback.recent_returns) == returns
    assert float(row["rollout/extrinsic_return"]) == pytest.approx(np.mean(returns))
    assert float(row["rollout/achievements"]) == pytest.approx(np.mean(unlocked))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("the environment broke")])
def test_an_exception_loses_nothing_and_a_closed_log_goes_on(
    tmp_path: Path, error: BaseException
) -> None:
    vec_env = VecMonitor(DummyVecEnv([Errand] * 3), str(tmp_path / "monitor.csv"))
    path = tmp_path / "stats.jsonl"
    log, model = EpisodeLogCallback(path), small_ppo(vec_env)
    with pytest.raises(type(error)):
        model.learn(400, callback=[log, StopAt(50, error)])
    # Before anything is closed: each line was written out when its episode ended.
    before = logged(path)
    assert before == monitored(tmp_path / "monitor.csv")
    assert len(before) >= 15
    log.close()
    model.learn(96, callback=log)
    assert logged(path)[: len(before)] == before
    assert len(logged(path)) > len(before)
    vec_env.close()


def test_the_bar_shows_what_the_log_has_and_ends_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = EpisodeLogCallback(tmp_path / "stats.jsonl")
    model = small_ppo(DummyVecEnv([Errand] * 2))
    # The last rollout goes past the total.
    model.learn(101, callback=[log, ProgressBarCallback("sgrl, seed 3", log)])
    out, err = capsys.readouterr()
    assert out == ""
    last = err.split("\r")[-1]
    for shown in (
        "sgrl, seed 3: 100%", "101/101", f"episodes={log.episodes}",
        f"return={np.mean(log.recent_returns):.2f}",
        f"achievements={np.mean(log.recent_achievements):.2f}",
    ):  # fmt: skip
        assert shown in last
    # Training that goes on shows the steps of this call.
    model.learn(64, reset_num_timesteps=False, callback=[log, ProgressBarCallback("two", log)])
    assert "64.0/64.0" in capsys.readouterr().err.split("\r")[-1]
    bar = ProgressBarCallback("broken", log)
    bar.close()  # never shown
    with pytest.raises(KeyboardInterrupt):
        model.learn(200, callback=[log, bar, StopAt(40, KeyboardInterrupt())])
    assert len(tqdm._instances) == 1
    bar.close()
    bar.close()
    assert not tqdm._instances
    assert capsys.readouterr().err.endswith("\n")
    log.close()
