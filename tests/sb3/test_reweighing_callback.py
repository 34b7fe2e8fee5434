"""`ReweighingCallback`: what the episodes reach, and what follows from it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from llm_wrappers import GoalObservationWrapper
from llm_wrappers.errors import (
    AuthenticationError,
    GuidanceFileError,
    GuidanceWarning,
    IncompatibleEnvironmentError,
    InvalidOptionError,
    ProviderError,
    UnknownNameError,
)
from llm_wrappers.llm import Budget
from llm_wrappers.methods import sgrl
from llm_wrappers.sb3 import EpisodeLogCallback, ReweighingCallback, as_vec_env
from llm_wrappers.scores import read_episodes
from llm_wrappers.testing import ScriptedLLM
from llm_wrappers.wrappers import vector

CRAFTAX = "llm_wrappers/CraftaxClassic-v1"
GOALS = ["stand", "last"]
LASTS = 16
DOWN = json.dumps({"factors": [{"goal": "stand", "factor": 0.25}]})


def planner(facts: Any) -> Any:
    return [[("stand", 2.0), ("last", 1.0)] for _ in facts]


def achieved(info: Any) -> list[str]:
    """Every episode stands; one of `LASTS` steps lasts."""
    return GOALS if info["TimeLimit.truncated"] else ["stand"]


OPTIONS: dict[str, Any] = {
    "planner": planner,
    "goals": GOALS,
    "selection": "argmax",
    "reselect": "every_step",
}


def make_env() -> gym.Env:
    env = gym.make("CartPole-v1", max_episode_steps=LASTS)
    return Monitor(GoalObservationWrapper(env, **OPTIONS))


def make_vector() -> VecEnv:
    make = partial(gym.make, "CartPole-v1", max_episode_steps=LASTS)
    envs = SyncVectorEnv([make] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    return as_vec_env(vector.GoalObservationWrapper(envs, **OPTIONS))


def make_bridged(kind: Any = SyncVectorEnv) -> VecEnv:
    return as_vec_env(kind([make_env] * 2, autoreset_mode=AutoresetMode.SAME_STEP))


MAKERS = {
    "dummy": lambda: DummyVecEnv([make_env] * 2),
    "subproc": lambda: SubprocVecEnv([make_env] * 2, start_method="fork"),
    "vector": make_vector,
    "bridged": make_bridged,
    "bridged processes": partial(make_bridged, AsyncVectorEnv),
}


def ppo(vec_env: Any = None, **options: Any) -> PPO:
    vec_env = MAKERS["dummy"]() if vec_env is None else vec_env
    settings = {"n_steps": 32, "batch_size": 64, "n_epochs": 1, "seed": 0, "device": "cpu"}
    return PPO("MultiInputPolicy", vec_env, **{**settings, **options})


class Episodes(BaseCallback):
    """Counts finished episodes and those that lasted, by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = Counter({"episodes": 0, "last": 0})

    def _on_step(self) -> bool:
        for index in np.flatnonzero(self.locals["dones"]):
            self.counted["episodes"] += 1
            self.counted["last"] += bool(self.locals["infos"][index]["TimeLimit.truncated"])
        return True


class Interrupt(BaseCallback):
    """Ctrl-C after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._steps:
            raise KeyboardInterrupt
        return True


@pytest.mark.parametrize("kind", list(MAKERS))
def test_all_sub_environments_are_counted_and_told(kind: str) -> None:
    vec_env = MAKERS[kind]()
    space = vec_env.observation_space
    callback, episodes = ReweighingCallback(every=512, achieved=achieved), Episodes()
    ppo(vec_env).learn(576, callback=[callback, episodes])
    (entry,) = callback.run.history
    # The last rollout is of the next period.
    assert entry["episodes"] + callback.run.episodes == episodes.counted["episodes"] > 20
    lasted = round(entry["success_rates"]["last"] * entry["episodes"])
    assert lasted + callback.run.reached["last"] == episodes.counted["last"] > 10
    assert entry["success_rates"]["stand"] == 1.0
    assert 0 < entry["success_rates"]["last"] < 1
    expected = {"stand": 0.5, "last": 0.5 ** entry["success_rates"]["last"]}
    assert callback.run.factors == expected
    assert vec_env.env_method("goal_factors") == [expected] * 2
    assert vec_env.observation_space == space
    vec_env.close()


def test_the_goal_that_is_pursued_changes_between_rollouts() -> None:
    goals: list[tuple[int, str]] = []

    class Goals(BaseCallback):
        def _on_step(self) -> bool:
            goals.extend((self.num_timesteps, info["goal_text"]) for info in self.locals["infos"])
            return True

    callback = ReweighingCallback(
        lambda report: {"last": 5.0}, every=100, achieved=lambda info: ["stand"]
    )
    ppo().learn(192, callback=[callback, Goals()])
    # 100 steps are done within the second rollout, which ends after 128.
    assert callback.run.history[0]["env_steps"] == 128
    assert {goal for steps, goal in goals if steps <= 128} == {"stand"}
    assert {goal for steps, goal in goals if steps > 128} == {"last"}


def test_it_goes_on_with_the_training_and_misses_no_period() -> None:
    callback = ReweighingCallback("none", every=128, achieved=achieved)
    model = ppo()
    model.learn(192, callback=callback)
    model.learn(192, callback=callback, reset_num_timesteps=False)
    assert [entry["env_steps"] for entry in callback.run.history] == [128, 256]
    assert callback.run.env_steps == 384
    # A new callback counts from the steps that the model has done.
    other = ReweighingCallback("none", every=128, achieved=achieved)
    model.learn(192, callback=other, reset_num_timesteps=False)
    assert [entry["env_steps"] for entry in other.run.history] == [512]
    assert other.run.env_steps == 576


def test_a_run_that_was_interrupted_goes_on_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_wrappers.methods.sgrl.reweighing_run._SECONDS_BETWEEN_SAVES", 0.0)
    path = tmp_path / "reweighing.json"
    options: dict[str, Any] = {"every": 256, "achieved": achieved, "path": path}
    first = ReweighingCallback(**options)
    model = ppo()
    with pytest.raises(KeyboardInterrupt):
        model.learn(2_000, callback=[first, Interrupt(500)])
    model.save(tmp_path / "model")
    # What was counted until the last rollout began is there without anybody having saved it.
    saved = json.loads(path.read_text())
    assert (saved["env_steps"], saved["due"], saved["count"]) == (448, 512, 1)
    assert saved["episodes"] > 0
    assert saved["factors"] == first.run.factors
    first.save()
    saved = json.loads(path.read_text())
    assert saved["env_steps"] == 500

    vec_env = MAKERS["dummy"]()
    again = ReweighingCallback(**options)
    model = PPO.load(tmp_path / "model", vec_env, device="cpu")
    model.learn(128, callback=again, reset_num_timesteps=False)
    assert [entry["env_steps"] for entry in again.run.history] == [256, 564]
    entry = again.run.history[1]
    assert entry["episodes"] > saved["episodes"]
    rates = again.run.history[1]["success_rates"]
    assert again.run.factors["stand"] == first.run.factors["stand"] * 0.5 == 0.25
    assert again.run.factors["last"] == first.run.factors["last"] * 0.5 ** rates["last"]
    assert vec_env.env_method("goal_factors") == [again.run.factors] * 2
    assert json.loads(path.read_text())["env_steps"] == 628  # written when training ended


def test_training_is_the_same_where_factors_stay() -> None:
    plain = ppo().learn(128)
    callback = ReweighingCallback("none", every=64, achieved=achieved)
    counted = ppo().learn(128, callback=callback)
    assert callback.run.count == 1
    for name, value in plain.policy.state_dict().items():
        np.testing.assert_array_equal(value, counted.policy.state_dict()[name])


# --- Craftax-Classic, as it comes ---


@pytest.mark.slow
def test_craftax_classic_with_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vec_env = as_vec_env(sgrl.wrap(gym.make_vec(CRAFTAX, num_envs=4, length=64)))
    log = EpisodeLogCallback(tmp_path / "stats.jsonl")
    callback = ReweighingCallback(every=256, path=tmp_path / "reweighing.json", verbose=1)
    model = MaskablePPO(
        "MultiInputPolicy", vec_env, n_steps=64, batch_size=256, n_epochs=1, seed=0, device="cpu",
        verbose=1, policy_kwargs={"net_arch": [16]},
    )  # fmt: skip
    model.learn(640, callback=[log, callback])
    first, second = callback.run.history
    assert (first["env_steps"], second["env_steps"]) == (256, 512)
    goals = vec_env.env_method("goal_vocabulary")[0]
    for entry, low, high in ((first, 0, 256), (second, 256, 512)):
        rows = [
            row for row in read_episodes(tmp_path / "stats.jsonl") if low < row["env_steps"] <= high
        ]
        assert entry["episodes"] == len(rows) >= 4
        for goal in goals:
            name = f"achievement_{goal.replace(' ', '_')}"
            rate = sum(row[name] > 0 for row in rows) / len(rows)
            assert entry["success_rates"][goal] == rate
    factors = vec_env.env_method("goal_factors")[0]
    assert factors == callback.run.factors
    assert factors["collect wood"] < factors["collect diamond"] == 1.0
    printed = capsys.readouterr().out
    assert "goals re-weighted after 256 steps, " in printed
    assert "reweigh/count" in printed
    assert "make_stone" not in printed  # too long for SB3's tables


# --- the log ---


def test_what_is_logged_can_be_read_back(tmp_path: Path) -> None:
    reply = json.dumps({"factors": [{"goal": "stand", "factor": 99}, {"goal": "fly", "factor": 1}]})
    callback = ReweighingCallback(ScriptedLLM([reply]), every=128, achieved=achieved)
    model = ppo()
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(192, callback=callback)
    model.logger.close()
    *_, row = csv.DictReader((tmp_path / "progress.csv").read_text().splitlines())
    read = {name: float(row[f"guidance/reweigh/{name}"]) for name in (
        "count", "episodes", "seconds", "failures", "answers", "clipped", "unknown_goals",
        "left_out", "factor/stand", "factor/last", "success_rate/stand",
    )}  # fmt: skip
    assert 0 <= read.pop("seconds") < 60
    assert read == {
        "count": 1, "episodes": callback.run.history[0]["episodes"], "failures": 0, "answers": 1,
        "clipped": 1, "unknown_goals": 1, "left_out": 1, "factor/stand": 10, "factor/last": 1,
        "success_rate/stand": 1,
    }  # fmt: skip


# --- a language model ---


def test_the_same_run_over_one_cache_asks_nothing_again(tmp_path: Path) -> None:
    weights = []
    for run in range(2):
        llm = ScriptedLLM([DOWN] * 2, cache=tmp_path / "answers.sqlite")
        callback = ReweighingCallback(llm, every=128, achieved=achieved)
        model = ppo()
        model.learn(320, callback=callback)
        assert callback.run.count == 2
        assert callback.run.factors == {"stand": 0.25, "last": 1.0}
        usage = llm.usage["reweigh"]
        assert (usage.calls, usage.cache_hits) == ((2, 0), (0, 2))[run]
        if run == 0:
            prompt = str(llm.requests[0])
        weights.append(model.policy.state_dict())
        llm.close()
    assert "- stand: reached in 100% of episodes, factor 1" in prompt
    assert "pole" in prompt  # the rules of the environment
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][name])


def test_a_refused_key_stops_training() -> None:
    llm = ScriptedLLM([AuthenticationError("the key was refused")])
    with pytest.raises(AuthenticationError):
        ppo().learn(192, callback=ReweighingCallback(llm, every=64, achieved=achieved))


@pytest.mark.filterwarnings("ignore:no new weights:llm_wrappers.errors.GuidanceWarning")
@pytest.mark.parametrize("reason", ["provider", "budget"])
def test_training_goes_on_without_the_model(reason: str) -> None:
    script: Any = [DOWN, *[ProviderError("the provider is down")] * 9]
    options = {"budget": Budget(calls=1)} if reason == "budget" else {}
    if reason == "budget":
        script = [DOWN] * 9
    callback = ReweighingCallback(
        ScriptedLLM(script, mode="off", **options), every=64, achieved=achieved
    )
    model = ppo()
    model.learn(256, callback=callback)
    assert model.num_timesteps == 256
    assert callback.run.count == 3
    assert callback.run.factors == {"stand": 0.25, "last": 1.0}
    assert callback.run.reweigher.stats()["failures"] == 2


def test_a_failure_is_warned_of_once() -> None:
    callback = ReweighingCallback(lambda report: {"fly": 1.0}, every=64, achieved=achieved)
    model = ppo()
    with pytest.warns(GuidanceWarning, match="the re-weigher failed.*fly"):
        model.learn(128, callback=callback)
    model.learn(128, callback=callback, reset_num_timesteps=False)


# --- what the user got wrong ---


def test_a_callback_of_another_run() -> None:
    callback = ReweighingCallback(achieved=achieved)
    ppo().learn(64, callback=callback)
    env = gym.make("CartPole-v1")
    other = GoalObservationWrapper(env, **{**OPTIONS, "goals": ["last", "stand"]})
    model = ppo(DummyVecEnv([lambda: Monitor(other)]), batch_size=32)
    with pytest.raises(InvalidOptionError, match="use a new callback for a new run"):
        model.learn(64, callback=callback)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"every": 0}, InvalidOptionError, "every must be a whole number"),
        ({"every": 1e6}, InvalidOptionError, "every must be a whole number"),
        ({"achieved": ["stand"]}, InvalidOptionError, "achieved must be a function"),
        ({"reweigher": "oracle"}, UnknownNameError, "expected one of reference, none, llm:MODEL"),
        ({"reweigher": "llm:"}, UnknownNameError, "expected an LLM or a name"),
        ({"reweigher": 3}, InvalidOptionError, "expected a reweigher"),
    ],
)
def test_options_are_refused_before_training(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        ReweighingCallback(**options)


@pytest.mark.parametrize(
    ("env", "options", "error", "message"),
    [
        ("bare", {}, IncompatibleEnvironmentError, "wrap it in GoalObservationWrapper"),
        ("guided", {}, IncompatibleEnvironmentError, r"info\['achievements'\].*achieved="),
        ("guided", {"achieved": lambda info: ["fly"]}, InvalidOptionError, r"vocab.*got \['fly'\]"),
        (
            "guided",
            {"achieved": achieved, "path": "/dev/null/x"},
            GuidanceFileError,
            "cannot write",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_training(
    env: str, options: Any, error: Any, message: str
) -> None:
    if env == "bare":
        model = PPO("MlpPolicy", gym.make("CartPole-v1"), n_steps=32, batch_size=32)
    else:
        model = ppo()
    with pytest.raises(error, match=message):
        model.learn(256, callback=ReweighingCallback(**options))
