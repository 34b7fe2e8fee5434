"""`GuidanceCallback`: progress into schedules, counters into the log."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.env_util import make_vec_env as make_vec_env_of_sb3
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from llm_wrappers import ActionMaskWrapper, GoalObservationWrapper, RewardShiftWrapper
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.sb3 import GuidanceCallback, as_vec_env
from llm_wrappers.testing import ScriptedEnv
from llm_wrappers.wrappers import vector

GOALS = ["rest", "act on"]
MASKS = {"rest": [0], "act on": [1, 2]}
FALLING = {"kind": "linear", "start": 1.0, "end": 0.0}


class Notes:
    """Notes each progress it is given, with the steps done before."""

    def __init__(self, env: Any) -> None:
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


class Recorder(Notes, gym.Wrapper[Any, Any, Any, Any]):
    """Around a single environment."""


class VectorRecorder(Notes, VectorWrapper):
    """Around a vector environment."""


def make_recorded() -> gym.Env:
    return Monitor(Recorder(ScriptedEnv()))


def make_scripted_vector(n: int = 2) -> SyncVectorEnv:
    return SyncVectorEnv([ScriptedEnv] * n, autoreset_mode=AutoresetMode.SAME_STEP)


def planner(facts: Any) -> Any:
    return [[("act on", 1.0)] for _ in facts]


def make_guided(schedule: Any = FALLING) -> gym.Env:
    env = GoalObservationWrapper(ScriptedEnv(), planner=planner, goals=GOALS)
    return ActionMaskWrapper(env, masks=MASKS, schedule=schedule)


def make_guided_vector(n: int = 2) -> Any:
    envs = vector.GoalObservationWrapper(make_scripted_vector(n), planner=planner, goals=GOALS)
    return vector.ActionMaskWrapper(envs, masks=MASKS, schedule=FALLING)


def make_vec_env(kind: str) -> VecEnv:
    if kind == "dummy":
        return DummyVecEnv([make_recorded] * 2)
    if kind == "subproc":
        return SubprocVecEnv([make_recorded] * 2, start_method="fork")
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


# Calls of learn, each with a callback and what else it is given; and the progress that is heard.
GOING_ON = {
    "the second call knows of both": (
        [(128, {}), (128, {"reset_num_timesteps": False})],
        [(0, 0.0), (32, 0.5), (64, 1.0), (64, 0.5), (96, 0.75), (128, 1.0)],
    ),
    "over a total": (
        [(128, {"total_steps": 256}), (128, {"total_steps": 256, "reset_num_timesteps": False})],
        [(0, 0.0), (32, 0.25), (64, 0.5), (64, 0.5), (96, 0.75), (128, 1.0)],
    ),
    "a training of its own": (
        [(64, {}), (64, {})],
        [(0, 0.0), (32, 1.0), (32, 0.0), (64, 1.0)],
    ),
    "from where a trained model is guided": (
        [(128, {"guided": False}), (128, {"start": 128, "reset_num_timesteps": False})],
        [(64, 0.0), (96, 0.5), (128, 1.0)],
    ),
    "never above one": (
        [(192, {"total_steps": 100})],
        [(0, 0.0), (32, 0.64), (64, 1.0), (96, 1.0)],
    ),
}


@pytest.mark.parametrize("name", GOING_ON)
def test_progress_over_several_trainings(name: str) -> None:
    calls, heard = GOING_ON[name]
    vec_env = make_vec_env("dummy")
    model = small_ppo(vec_env)
    for steps, options in calls:
        given = dict(options)
        learn = {key: given.pop(key) for key in ("reset_num_timesteps",) if key in given}
        callback = GuidanceCallback(**given) if given.pop("guided", True) else None
        model.learn(steps, callback=callback, **learn)
    assert progress_of(vec_env) == heard


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
    goal_steps = "guidance/GoalObservationWrapper/goal_steps"
    expected = {
        "guidance/ActionMaskWrapper/xi": [1.0, 0.5],
        "guidance/ActionMaskWrapper/states": [None, mask_stats["states"]],
        "guidance/GoalObservationWrapper/failures": [0, 0],
        f"{goal_steps}/act_on": [None, goal_stats["goal_steps"]["act on"]],
        f"{goal_steps}/rest": [0, 0],
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


@pytest.mark.parametrize("algorithm", [PPO, DQN])
def test_an_environment_without_guidance_is_left_alone(algorithm: Any) -> None:
    callback = GuidanceCallback()
    options = {"n_steps": 32, "batch_size": 32} if algorithm is PPO else {"buffer_size": 100}
    algorithm("MlpPolicy", gym.make("CartPole-v1"), **options).learn(64, callback=callback)
    assert callback.progress == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"total_steps": value}, "total_steps must be a whole") for value in (0, 2.5, "x", True)),
        *(({"start": value}, "start must be a whole number >= 0") for value in (-1, 2.5, True)),
        *(({"also": value}, "also must be a list of") for value in (ScriptedEnv(), "env", [3])),
        ({"evaluation_training": 1}, "evaluation_training must be True or False"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        GuidanceCallback(**options)


# --- shifted rewards: the discount of the algorithm is known here only ---


def cart_pole(**options):
    env = gym.make("CartPole-v1", max_episode_steps=20)
    return RewardShiftWrapper(env, **{"judge": "reference", **options})


@pytest.mark.parametrize("bridged", [False, True])
def test_shaping_with_another_discount_is_refused(bridged: bool) -> None:
    env: Any = cart_pole(mode="potential", gamma=0.9)
    if bridged:
        envs = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
        shaped = {"judge": "reference", "mode": "potential", "gamma": 0.9}
        env = as_vec_env(vector.RewardShiftWrapper(envs, **shaped))
    with pytest.raises(InvalidOptionError, match=r"gamma=0\.9, .* gamma=0\.99: give both the same"):
        A2C("MlpPolicy", env, device="cpu").learn(10, callback=GuidanceCallback())
    A2C("MlpPolicy", env, gamma=0.9, device="cpu").learn(10, callback=GuidanceCallback())


@pytest.mark.parametrize(
    ("options", "outweighs"),
    [
        ({"judge": "anti-oracle", "scale": 100.0}, True),
        ({"judge": "none", "scale": 100.0}, False),
        ({"scale": 1e-3}, False),
        ({"mode": "potential", "gamma": 0.99}, False),
    ],
    ids=str,
)
def test_judgements_that_outweigh_what_is_paid_are_warned_of_once(
    options: dict[str, Any], outweighs: bool
) -> None:
    env = cart_pole(**options)
    model = A2C("MlpPolicy", env, seed=0, device="cpu")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.learn(500, callback=GuidanceCallback())
    assert env.stats()["episodes"] >= 20
    assert ["may live off approval" in str(each.message) for each in said] == [True] * outweighs


def test_the_side_of_the_wrapper_on_which_the_monitor_is_decides_what_is_logged() -> None:
    inside = RewardShiftWrapper(Monitor(gym.make("CartPole-v1")), judge="constant:1")
    outside = Monitor(RewardShiftWrapper(gym.make("CartPole-v1"), judge="constant:1"))
    by_sb3 = make_vec_env_of_sb3(
        "CartPole-v1", n_envs=2, wrapper_class=RewardShiftWrapper,
        wrapper_kwargs={"judge": "constant:1"},
    )  # fmt: skip
    for env, times in ((inside, 1), (outside, 2), (by_sb3, 1)):
        model = A2C("MlpPolicy", env, seed=0, device="cpu").learn(150)
        assert model.ep_info_buffer
        assert all(each["r"] == times * each["l"] for each in model.ep_info_buffer)
