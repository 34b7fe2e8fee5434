"""`GuidanceCallback`: progress into schedules, counters into the log."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper
from sb3_contrib import MaskablePPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from llm_wrappers import ActionMaskWrapper, GoalObservationWrapper
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.sb3 import GuidanceCallback, as_vec_env
from llm_wrappers.testing import ScriptedEnv
from llm_wrappers.wrappers import vector

GOALS = ["rest", "act"]
MASKS = {"rest": [0], "act": [1, 2]}
FALLING = {"kind": "linear", "start": 1.0, "end": 0.0}


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Recorder(gym.Wrapper):
    """Notes each progress it is given, with the steps done before."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.steps = 0
        self.seen: list[tuple[int, float]] = []

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self.env.step(action)

    def set_progress(self, progress: float) -> None:
        self.seen.append((self.steps, progress))

    def progress_seen(self) -> list[tuple[int, float]]:
        return self.seen


class VectorRecorder(VectorWrapper):
    """The same around a vector environment."""

    def __init__(self, env: gym.vector.VectorEnv) -> None:
        super().__init__(env)
        self.steps = 0
        self.seen: list[tuple[int, float]] = []

    def step(self, actions: Any) -> Any:
        self.steps += 1
        return self.env.step(actions)

    def set_progress(self, progress: float) -> None:
        self.seen.append((self.steps, progress))

    def progress_seen(self) -> list[tuple[int, float]]:
        return self.seen


def make_recorded() -> gym.Env:
    return Monitor(Recorder(ScriptedEnv()))


def make_scripted_vector(n: int = 2) -> SyncVectorEnv:
    return SyncVectorEnv([ScriptedEnv] * n, autoreset_mode=AutoresetMode.SAME_STEP)


def planner(facts: Any) -> Any:
    return [[("act", 1.0)] for _ in facts]


def make_guided(schedule: Any = FALLING) -> gym.Env:
    env = GoalObservationWrapper(ScriptedEnv(), planner=planner, goals=GOALS)
    return ActionMaskWrapper(env, masks=MASKS, schedule=schedule)


def make_guided_without_mask() -> gym.Env:
    return GoalObservationWrapper(ScriptedEnv(), planner=planner, goals=GOALS)


def make_guided_vector(n: int = 2) -> Any:
    envs = vector.GoalObservationWrapper(make_scripted_vector(n), planner=planner, goals=GOALS)
    return vector.ActionMaskWrapper(envs, masks=MASKS, schedule=FALLING)


def make_vec_env(kind: str) -> VecEnv:
    if kind == "dummy":
        return DummyVecEnv([make_recorded] * 2)
    if kind == "subproc":
        return SubprocVecEnv([make_recorded] * 2)
    return as_vec_env(VectorRecorder(make_scripted_vector()))


def small_ppo(vec_env: Any, policy: str = "MlpPolicy") -> PPO:
    return PPO(policy, vec_env, n_steps=32, batch_size=32, n_epochs=1, seed=0)


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Return what the CSV logger wrote, a row for each rollout."""
    return list(csv.DictReader((folder / "progress.csv").read_text().splitlines()))


def progress_of(vec_env: VecEnv) -> list[tuple[int, float]]:
    """Return the progress that every sub-environment was given, checked to be the same."""
    first, *others = vec_env.env_method("progress_seen")
    assert all(other == first for other in others)
    return first


@pytest.mark.parametrize("kind", ["dummy", "vector", "subproc"])
def test_progress_is_exact_at_the_start_of_each_rollout(kind: str) -> None:
    vec_env = make_vec_env(kind)
    small_ppo(vec_env).learn(256, callback=GuidanceCallback())
    # 4 rollouts of 32 steps of 2 sub-environments: 64 of 256. At the end it is what was reached.
    assert progress_of(vec_env) == [(0, 0.0), (32, 0.25), (64, 0.5), (96, 0.75), (128, 1.0)]
    vec_env.close()


@pytest.mark.parametrize("kind", ["dummy", "vector"])
def test_progress_with_an_off_policy_algorithm(kind: str) -> None:
    vec_env = make_vec_env(kind)
    model = DQN(
        "MlpPolicy", vec_env, train_freq=10, gradient_steps=1, learning_starts=20,
        buffer_size=200, batch_size=8, seed=0,
    )  # fmt: skip
    model.learn(80, callback=[GuidanceCallback()])
    assert progress_of(vec_env) == [(0, 0.0), (10, 0.25), (20, 0.5), (30, 0.75), (40, 1.0)]


def test_progress_goes_on_where_training_goes_on() -> None:
    vec_env = make_vec_env("dummy")
    model = small_ppo(vec_env)
    model.learn(128, callback=GuidanceCallback())
    model.learn(128, callback=GuidanceCallback(), reset_num_timesteps=False)
    # The second call knows of both: 128 and 192 of 256.
    first, second = [(0, 0.0), (32, 0.5), (64, 1.0)], [(64, 0.5), (96, 0.75), (128, 1.0)]
    assert progress_of(vec_env) == [*first, *second]


def test_progress_over_the_total_that_was_given() -> None:
    vec_env = make_vec_env("dummy")
    model = small_ppo(vec_env)
    callback = GuidanceCallback(total_steps=256)
    model.learn(128, callback=callback)
    model.learn(128, callback=callback, reset_num_timesteps=False)
    first, second = [(0, 0.0), (32, 0.25), (64, 0.5)], [(64, 0.5), (96, 0.75), (128, 1.0)]
    assert progress_of(vec_env) == [*first, *second]
    assert callback.progress == 1.0


def test_progress_starts_again_with_a_training_of_its_own() -> None:
    vec_env = make_vec_env("dummy")
    model, callback = small_ppo(vec_env), GuidanceCallback()
    for _ in range(2):
        model.learn(64, callback=callback)
    assert [progress for _, progress in progress_of(vec_env)] == [0.0, 1.0, 0.0, 1.0]


def test_progress_begins_where_a_trained_model_is_guided() -> None:
    vec_env = make_vec_env("dummy")
    model = small_ppo(vec_env).learn(128)
    callback = GuidanceCallback(start=model.num_timesteps)
    model.learn(128, callback=callback, reset_num_timesteps=False)
    assert progress_of(vec_env) == [(64, 0.0), (96, 0.5), (128, 1.0)]
    assert callback.progress == 1.0


def test_progress_never_exceeds_one() -> None:
    vec_env = make_vec_env("dummy")
    small_ppo(vec_env).learn(192, callback=GuidanceCallback(total_steps=100))
    assert progress_of(vec_env) == [(0, 0.0), (32, 0.64), (64, 1.0), (96, 1.0)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: DummyVecEnv([lambda: Monitor(make_guided())] * 2),
        lambda: as_vec_env(make_guided_vector()),
    ],
    ids=["dummy", "vector"],
)
def test_the_schedule_of_the_mask_wrapper_follows(make: Any) -> None:
    vec_env = make()
    model = MaskablePPO("MultiInputPolicy", vec_env, n_steps=32, batch_size=32, n_epochs=1, seed=0)
    model.learn(256, callback=GuidanceCallback())
    for stats in vec_env.env_method("stats"):
        assert stats["xi"] == 0.0
        # xi was 1, 0.75, 0.5 and 0.25 for a quarter of the steps each.
        assert stats["masked_share"] == pytest.approx(0.625, abs=0.08)


def test_counters_can_be_read_back_from_the_log(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    vec_env = as_vec_env(make_guided_vector())
    model = MaskablePPO("MultiInputPolicy", vec_env, n_steps=32, batch_size=32, n_epochs=1, seed=0)
    model.set_logger(configure(str(tmp_path), ["csv", "tensorboard"]))
    model.learn(128, callback=GuidanceCallback())
    model.logger.close()
    mask_stats, goal_stats = (
        vec_env.env_method("all_stats", indices=[0])[0][name]
        for name in ("ActionMaskWrapper", "GoalObservationWrapper")
    )
    expected = {
        "guidance/ActionMaskWrapper/xi": [1.0, 0.5],
        "guidance/ActionMaskWrapper/states": [None, mask_stats["states"]],
        "guidance/GoalObservationWrapper/failures": [0, 0],
        "guidance/GoalObservationWrapper/goal_steps/act": [None, goal_stats["goal_steps"]["act"]],
        "guidance/GoalObservationWrapper/goal_steps/rest": [0, 0],
    }
    rows = rows_of(tmp_path)
    events = EventAccumulator(str(tmp_path)).Reload()
    for name, values in expected.items():
        logged = [float(row[name]) for row in rows]
        assert [event.value for event in events.Scalars(name)] == pytest.approx(logged)
        assert len(logged) == len(values)
        for value, wanted in zip(logged, values, strict=True):
            assert wanted is None or value == wanted
    assert mask_stats["states"] > 128  # 2 sub-environments, and the states after their ends


def test_names_with_spaces_can_be_read_back(tmp_path: Path) -> None:
    env = GoalObservationWrapper(
        ScriptedEnv(), planner=lambda facts: [[("go on", 1.0)] for _ in facts], goals=["go on"]
    )
    model = PPO("MultiInputPolicy", env, n_steps=32, batch_size=32, n_epochs=1, seed=0)
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(32, callback=GuidanceCallback())
    model.logger.close()
    (row,) = rows_of(tmp_path)
    assert float(row["guidance/GoalObservationWrapper/goal_steps/go_on"]) > 32


@pytest.mark.parametrize("algorithm", [PPO, DQN])
def test_an_environment_without_guidance_is_left_alone(algorithm: Any) -> None:
    callback = GuidanceCallback()
    options = {"n_steps": 32, "batch_size": 32} if algorithm is PPO else {"buffer_size": 100}
    algorithm("MlpPolicy", gym.make("CartPole-v1"), **options).learn(64, callback=callback)
    assert callback.progress == 1.0


def test_training_is_the_same_with_the_callback() -> None:
    plain = small_ppo(DummyVecEnv([make_guided_without_mask] * 2), policy="MultiInputPolicy")
    plain.learn(64)
    logged = small_ppo(DummyVecEnv([make_guided_without_mask] * 2), policy="MultiInputPolicy")
    logged.learn(64, callback=GuidanceCallback())
    for name, value in plain.policy.state_dict().items():
        np.testing.assert_array_equal(value, logged.policy.state_dict()[name])


@pytest.mark.parametrize("total_steps", [0, -5, 2.5, "many", True])
def test_a_total_that_is_no_number_of_steps(total_steps: Any) -> None:
    with pytest.raises(InvalidOptionError, match="total_steps must be a whole number >= 1"):
        GuidanceCallback(total_steps=total_steps)


@pytest.mark.parametrize("start", [-1, 2.5, "now", True])
def test_a_start_that_is_no_number_of_steps(start: Any) -> None:
    with pytest.raises(InvalidOptionError, match="start must be a whole number >= 0"):
        GuidanceCallback(start=start)
