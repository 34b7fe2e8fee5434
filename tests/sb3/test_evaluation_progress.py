"""Evaluation hears the training progress; the model remembers it; the end says what was missing."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.callbacks import MaskableEvalCallback
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from llm_wrappers import ActionMaskWrapper, GoalObservationWrapper
from llm_wrappers.errors import GuidanceWarning, InvalidOptionError
from llm_wrappers.sb3 import GuidanceCallback, as_vec_env, set_progress_of
from llm_wrappers.testing import ScriptedEnv


class Layer(gym.Wrapper[Any, Any, Any, Any]):
    """Has what each wrapper of ours has, and says what it was told and when it was played."""

    def __init__(self, env: gym.Env[Any, Any] | None = None, unguided: Any = ()) -> None:
        super().__init__(env or ScriptedEnv())
        self.progress: float | None = None
        self.training = True
        self.played: list[float | None] = []
        self._unguided = list(unguided)

    def reset(self, **kwargs: Any) -> Any:
        self.played.append(self.progress)
        return self.env.reset(**kwargs)

    def set_progress(self, progress: float) -> None:
        self.progress = progress

    def set_training(self, training: bool) -> None:
        self.training = training

    def unguided(self) -> list[str]:
        return self._unguided


def small_ppo(env: Any, **options: Any) -> PPO:
    options = {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "seed": 0, **options}
    return PPO("MlpPolicy", env, device="cpu", **options)


def evaluation(env: Any, **options: Any) -> EvalCallback:
    options = {"eval_freq": 16, "n_eval_episodes": 1, "verbose": 0, "warn": False, **options}
    return EvalCallback(env, **options)


def first_of_each(played: list[Any]) -> list[Any]:
    return list(dict.fromkeys(played))


# --- evaluation environments ---

WRAPPED_IN = {
    "alone": lambda guidance, evaluating: [guidance, evaluating],
    "before": lambda guidance, evaluating: [evaluating, guidance],
    "nested": lambda guidance, evaluating: [CallbackList([CallbackList([evaluating])]), guidance],
    "every_n": lambda guidance, evaluating: [EveryNTimesteps(16, evaluating), guidance],
    "after_eval": lambda guidance, evaluating: [
        evaluation(DummyVecEnv([ScriptedEnv]), callback_after_eval=evaluating),
        guidance,
    ],
    "new_best": lambda guidance, evaluating: [
        evaluation(DummyVecEnv([ScriptedEnv]), callback_on_new_best=evaluating),
        guidance,
    ],
}


@pytest.mark.parametrize("how", WRAPPED_IN)
def test_each_evaluation_is_at_the_progress_of_its_step(how: str) -> None:
    layer = Layer()
    every = 1 if how in ("every_n", "after_eval", "new_best") else 16
    callbacks = WRAPPED_IN[how](GuidanceCallback(), evaluation(layer, eval_freq=every))
    small_ppo(DummyVecEnv([Layer])).learn(64, callback=callbacks)
    # In the middle of a rollout of 32 too; and 1.0 when training has ended.
    if how == "new_best":
        assert layer.played[0] == 0.25
    else:
        assert first_of_each(layer.played) == [0.25, 0.5, 0.75, 1.0]
    assert layer.progress == 1.0


def test_an_off_policy_algorithm_evaluates_at_the_right_progress() -> None:
    layer = Layer()
    model = DQN("MlpPolicy", Layer(), learning_starts=10, buffer_size=100, batch_size=8, seed=0)
    model.learn(64, callback=[evaluation(layer), GuidanceCallback()])
    assert first_of_each(layer.played) == [0.25, 0.5, 0.75, 1.0]


def make_guided() -> gym.Env[Any, Any]:
    """Return a pole balanced by a planner whose masks fade away."""

    def planner(facts: Any) -> Any:
        lean = [row["pole_angle_deg"] + 0.5 * row["pole_velocity_deg_per_s"] for row in facts]
        return [[("left" if value < 0 else "right", 1.0)] for value in lean]

    env = GoalObservationWrapper(gym.make("CartPole-v1"), planner=planner, goals=["left", "right"])
    schedule = {"kind": "linear", "start": 1.0, "end": 0.0}
    masks = {"left": [0], "right": [1]}
    return Monitor(ActionMaskWrapper(env, masks=masks, schedule=schedule))


class Again(BaseCallback):
    """Evaluates once more in an environment of its own that was told the progress."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.total = total
        self.results: list[Any] = []

    def _on_step(self) -> bool:
        vec_env = DummyVecEnv([make_guided])
        vec_env.seed(self.num_timesteps)
        vec_env.env_method("set_progress", self.num_timesteps / self.total)
        returns, _ = evaluate_policy(self.model, vec_env, 2, return_episode_rewards=True)
        self.results.append(returns)
        return True


class Seeded(MaskableEvalCallback):
    def _on_step(self) -> bool:
        self.eval_env.seed(self.num_timesteps)
        return super()._on_step()


@pytest.mark.parametrize("is_last", [False, True])
def test_an_evaluation_equals_one_that_was_told_the_progress(is_last: bool, tmp_path: Path) -> None:
    again = Again(512)
    evaluating = Seeded(
        DummyVecEnv([make_guided]), eval_freq=100, n_eval_episodes=2, verbose=0,
        callback_after_eval=again, log_path=str(tmp_path),
    )  # fmt: skip
    both = [GuidanceCallback(), evaluating]
    model = MaskablePPO(
        "MultiInputPolicy", DummyVecEnv([make_guided] * 2), n_steps=128, batch_size=128,
        n_epochs=1, learning_rate=1e-5, device="cpu", seed=0,
    )  # fmt: skip
    model.learn(512, callback=both if is_last else both[::-1])
    assert len(again.results) == 2
    assert evaluating.evaluations_results == again.results


def test_further_environments_of_every_kind_hear_the_progress() -> None:
    layers = [Layer(), Layer(), Layer()]
    single, dummy = layers[0], DummyVecEnv([lambda: layers[1]])
    envs = SyncVectorEnv([lambda: layers[2]])
    remote = AsyncVectorEnv([Layer] * 2, context="fork")
    subproc = SubprocVecEnv([Layer], start_method="fork")
    also = [single, dummy, envs, remote, subproc, ScriptedEnv(), as_vec_env(SyncVectorEnv([Layer]))]
    callback = GuidanceCallback(also=also, total_steps=128)
    small_ppo(DummyVecEnv([Layer])).learn(64, callback=callback)
    assert [layer.progress for layer in layers] == [0.5] * 3
    assert remote.call("progress") == (0.5, 0.5)
    assert subproc.get_attr("progress") == [0.5]
    remote.close()
    subproc.close()


@pytest.mark.parametrize(("value", "expected"), [(None, True), (False, False), (True, True)])
def test_training_mode_of_evaluation_is_left_alone_unless_told(value: Any, expected: bool) -> None:
    training, evaluated, also = Layer(), Layer(), Layer()
    callback = GuidanceCallback(also=[also], evaluation_training=value)
    small_ppo(training).learn(32, callback=[callback, evaluation(evaluated)])
    assert (evaluated.training, also.training) == (expected, expected)
    assert training.training


# --- what the model remembers ---


def test_a_saved_model_remembers_the_progress(tmp_path: Path) -> None:
    model = small_ppo(Layer())
    callback = [GuidanceCallback(total_steps=128), evaluation(Layer())]
    model.learn(64, callback=callback)
    model.save(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip")
    assert loaded.guidance_progress == 0.5
    envs: list[Any] = [Layer(), DummyVecEnv([Layer]), as_vec_env(SyncVectorEnv([Layer] * 2))]
    for env in envs:
        assert set_progress_of(loaded, env) == 0.5
        heard = env.get_attr("progress") if isinstance(env, VecEnv) else [env.progress]
        assert set(heard) == {0.5}
    assert set_progress_of(loaded, ScriptedEnv()) == 0.5


def test_the_best_model_remembers_when_it_was_the_best(tmp_path: Path) -> None:
    best = evaluation(Layer(Paid()), best_model_save_path=str(tmp_path))
    small_ppo(Layer(Paid())).learn(64, callback=[best, GuidanceCallback()])
    # Every episode pays the same, so the first evaluation is the best.
    assert PPO.load(tmp_path / "best_model.zip").guidance_progress == 0.25


def test_a_model_that_was_stopped_remembers_how_far_it_came() -> None:
    layer = Layer()
    model = small_ppo(layer)
    stop = StopTrainingOnMaxEpisodes(1)
    model.learn(640, callback=[GuidanceCallback(), stop])
    assert model.num_timesteps < 640
    assert model.guidance_progress == layer.progress == model.num_timesteps / 640


def test_a_model_without_progress_is_refused() -> None:
    model = small_ppo(ScriptedEnv())
    with pytest.raises(InvalidOptionError, match="trained with GuidanceCallback, got PPO"):
        set_progress_of(model, Layer())
    model.learn(32, callback=GuidanceCallback())
    with pytest.raises(InvalidOptionError, match="expected an environment, got 3"):
        set_progress_of(model, 3)  # type: ignore[arg-type]


# --- what is said at the end ---

SENTENCES = ["the judge failed in 9 of 10 steps", "no goal in 10 of 10 steps"]


@pytest.mark.parametrize("kind", ["dummy", "bridge", "async"])
def test_layers_without_guidance_are_said_once_at_the_end(kind: str) -> None:
    def make() -> gym.Env[Any, Any]:
        return Layer(unguided=SENTENCES)

    if kind == "dummy":
        vec_env: VecEnv = DummyVecEnv([make] * 2)
    elif kind == "bridge":
        vec_env = as_vec_env(SyncVectorEnv([make] * 2))
    else:
        vec_env = as_vec_env(AsyncVectorEnv([make] * 2, context="fork"))
    with pytest.warns(GuidanceWarning) as said:
        small_ppo(vec_env).learn(64, callback=GuidanceCallback())
    assert [str(warning.message) for warning in said] == SENTENCES
    vec_env.close()


def test_nothing_is_said_where_all_is_well() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small_ppo(DummyVecEnv([Layer])).learn(32, callback=GuidanceCallback())


# --- returns ---


class Paid(gym.Env[Any, Any]):
    """Episodes of five steps that pay 1, or 2 with shaping, and say so."""

    observation_space = gym.spaces.Box(0, 5, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, *, says: bool = True) -> None:
        self._says = says

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self._steps += 1
        info = {"extrinsic_reward": 1.0} if self._says else {}
        return np.full(1, self._steps, np.float32), 2.0, self._steps == 5, False, info


def logged(model: Any, folder: Path, **options: Any) -> list[dict[str, str]]:
    model.set_logger(configure(str(folder), ["csv"]))
    model.learn(96, **options)
    model.logger.close()
    return list(csv.DictReader((folder / "progress.csv").read_text().splitlines()))


@pytest.mark.parametrize("kind", ["dummy", "same", "next"])
def test_the_extrinsic_return_is_beside_the_guided_one(kind: str, tmp_path: Path) -> None:
    vec_env: VecEnv = DummyVecEnv([lambda: Monitor(Paid())] * 2)
    if kind != "dummy":
        mode = AutoresetMode.SAME_STEP if kind == "same" else AutoresetMode.NEXT_STEP
        vec_env = as_vec_env(SyncVectorEnv([Paid] * 2, autoreset_mode=mode))
    rows = logged(small_ppo(vec_env), tmp_path, callback=GuidanceCallback())
    assert [float(row["rollout/ep_rew_mean"]) for row in rows] == [10.0] * len(rows)
    assert [float(row["rollout/ep_extrinsic_rew_mean"]) for row in rows] == [5.0] * len(rows)


def test_environments_that_do_not_say_it_log_nothing(tmp_path: Path) -> None:
    makes = [lambda: Paid(says=False)] * 2
    rows = logged(small_ppo(DummyVecEnv(makes)), tmp_path, callback=GuidanceCallback())
    assert "rollout/ep_extrinsic_rew_mean" not in rows[0]


@pytest.mark.parametrize("between", ["goes on", "another callback", "begins anew", "another env"])
def test_no_episode_counts_half(between: str, tmp_path: Path) -> None:
    # 32 steps end in the middle of an episode of five.
    callback = GuidanceCallback()
    model = small_ppo(DummyVecEnv([Paid])).learn(32, callback=callback)
    if between == "another env":
        model.set_env(DummyVecEnv([Paid]))
    rows = logged(
        model, tmp_path, reset_num_timesteps=between == "begins anew",
        callback=GuidanceCallback() if between == "another callback" else callback,
    )  # fmt: skip
    assert {float(row["rollout/ep_extrinsic_rew_mean"]) for row in rows} == {5.0}
