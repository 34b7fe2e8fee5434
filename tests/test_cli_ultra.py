"""`llm-wrappers write ultra`, with a saved policy and a model behind real HTTP."""

from __future__ import annotations

import json
import re
import signal
import threading

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from llm_wrappers import CriticalStateOverrideWrapper
from llm_wrappers.cli import main
from llm_wrappers.errors import GuidanceWarning
from llm_wrappers.guidance.critical.table import CriticalStates
from llm_wrappers.llm import allow_requests
from llm_wrappers.sb3 import record_trajectories
from llm_wrappers.testing import LLMServer
from llm_wrappers.trajectories.files import open_trajectories

ENV = "CartPole-v1"
SMALL = {"n_steps": 32, "batch_size": 32, "seed": 0, "device": "cpu"}
BY_HAND = ["--selector", "return-drop", "--corrector", "reference"]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    path = tmp_path_factory.mktemp("policy") / "model.zip"
    PPO("MlpPolicy", gym.make(ENV), **SMALL).save(path)
    return path


@pytest.fixture(autouse=True)
def requests_allowed():
    with allow_requests(True):
        yield


def answer(body):
    """Name the last step but one of each episode, and push to where the pole leans there."""
    text = "\n".join(message["content"] for message in body["messages"])
    episodes = re.findall(r"^## Episode (\d+): (\d+) steps", text, re.MULTILINE)
    if ">>>" not in text:
        states = [
            {
                "episode": int(number),
                "step": int(steps) - 2,
                "importance": 1.0,
                "rationale": "falls",
            }
            for number, steps in episodes
        ]
        return json.dumps({"case_analysis": "It pushes at random.", "states": states})
    found = re.findall(r"^>>> \D*(\d+).*leans \S+ degrees? (left|right)", text, re.MULTILINE)
    corrections = [
        {"episode": int(episodes[0][0]), "step": int(step), "analysis": "it leans",
         "action": f"push {side}", "reward": -1.0}
        for step, side in found
    ]  # fmt: skip
    return json.dumps({"corrections": corrections})


def write(*arguments):
    return main(["write", "ultra", "--env", ENV, *map(str, arguments)])


def test_a_table_is_written_once_and_paid_for_once(policy, tmp_path, capsys):
    with LLMServer(answer) as server:
        options = [
            "--policy", policy, "--model", "openai/test", "--api-base", server.api_base,
            "--cache", tmp_path / "answers.sqlite", "--episodes", 3, "--per-episode", 1,
        ]  # fmt: skip
        assert write(*options, "--out", tmp_path / "one.json") == 0
        said = capsys.readouterr().out
        asked = len(server.requests)
        # One question for each episode, and one for each of its critical steps.
        assert asked == 6
        assert write(*options, "--out", tmp_path / "two.json") == 0
        assert len(server.requests) == asked
    assert "3 of them" in said
    assert f"file:{tmp_path / 'one.json'}" in said
    table = CriticalStates.load(tmp_path / "one.json")
    assert len(table.entries) == 3
    for entry in table.entries:
        assert int(entry.action) == (entry.state[2] > 0)
    assert table.provenance["selector"]["model"] == "openai/test"
    name = f"file:{tmp_path / 'two.json'}"
    CriticalStateOverrideWrapper(gym.make(ENV), critical_states=name).reset(seed=0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--selector", "random"], "give --model, or both --selector and --corrector"),
        (["--selector", "random", "--corrector", "reference"], "give --policy, or a --history"),
        (["--policy", "none.zip", "--selector", "random", "--corrector", "random"], "none.zip"),
        (["--selector", "nobody", "--corrector", "random", "--policy", "POLICY"], "nobody"),
        ([*BY_HAND, "--policy", "POLICY", "--env", "MountainCar-v0"], "spaces do not match"),
        ([*BY_HAND, "--policy", "POLICY", "--env", "NoSuch-v0"], "NoSuch"),
        ([*BY_HAND, "--policy", "POLICY", "--key", "near"], "key"),
        ([*BY_HAND, "--policy", "POLICY", "--part", "pole"], "only for Dict observations"),
        ([*BY_HAND, "--policy", "POLICY", "--vec-normalize", "none.pkl"], "none.pkl"),
    ],
)
def test_what_is_missing_is_said(arguments, said, policy, tmp_path, capsys):
    given = [str(policy) if argument == "POLICY" else argument for argument in arguments]
    assert write(*given, "--out", tmp_path / "table.json") != 0
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "table.json").exists()


def test_as_many_episodes_as_asked_for_are_used_and_the_rest_played(policy, tmp_path, capsys):
    history = ["--policy", policy, "--history", tmp_path / "h", "--out", tmp_path / "t.json"]
    for episodes, said, kept in ((1, "", 1), (3, "1 of 1 episodes", 3), (2, "2 of 3 episodes", 3)):
        assert write(*history, *BY_HAND, "--episodes", episodes) == 0
        assert said in capsys.readouterr().out
        assert len(open_trajectories(tmp_path / "h")) == kept
        assert CriticalStates.load(tmp_path / "t.json").provenance["episodes"] == episodes
    first, second, _ = open_trajectories(tmp_path / "h")
    assert not np.array_equal(first.observations[0], second.observations[0])


def test_a_history_of_another_environment_or_policy_is_refused(policy, tmp_path, capsys):
    history = [*BY_HAND, "--history", tmp_path / "h", "--episodes", 1, "--out", tmp_path / "t.json"]
    assert write("--policy", policy, *history) == 0
    other = tmp_path / "other.zip"
    PPO("MlpPolicy", gym.make(ENV), **{**SMALL, "seed": 1}).save(other)
    assert write("--policy", other, *history) == 2
    assert "was played by another one: name another --history" in capsys.readouterr().err
    assert write(*history, "--env", "MountainCar-v0") == 2
    assert "is of CartPole-v1: name another --history" in capsys.readouterr().err


def test_a_policy_that_was_trained_behind_vec_normalize_sees_what_it_saw(tmp_path, capsys):
    normalized = VecNormalize(DummyVecEnv([lambda: gym.make(ENV)]))
    model = PPO("MlpPolicy", normalized, **SMALL).learn(64)
    for weights in model.policy.parameters():
        # An untrained policy hardly looks at what it sees.
        torch.nn.init.normal_(weights)
    model.save(tmp_path / "model.zip")
    normalized.save(str(tmp_path / "statistics.pkl"))
    by_hand = ["--selector", "random", "--corrector", "reference"]
    options = [*by_hand, "--policy", tmp_path / "model.zip", "--episodes", 1, "--seed", 3]
    for name, more in (("with", ["--vec-normalize", tmp_path / "statistics.pkl"]), ("without", [])):
        out = tmp_path / f"{name}.json"
        assert write(*options, *more, "--history", tmp_path / name, "--out", out) == 0
    (expected,) = record_trajectories(model, gym.make(ENV), episodes=1, seed=3)
    (seen,), (unseen,) = (open_trajectories(tmp_path / name) for name in ("with", "without"))
    assert seen.actions.tolist() == expected.actions.tolist()
    assert unseen.actions.tolist() != expected.actions.tolist()
    pendulum = tmp_path / "pendulum.zip"
    PPO("MlpPolicy", "Pendulum-v1", **SMALL).save(pendulum)
    wrong = ["--policy", pendulum, "--env", "Pendulum-v1", "--out", tmp_path / "t.json"]
    assert write(*options, "--vec-normalize", tmp_path / "statistics.pkl", *wrong) == 2
    assert "expected statistics of observations of Box" in capsys.readouterr().err


def test_where_nothing_can_be_written_nothing_is_played(policy, tmp_path, capsys):
    history = ["--history", tmp_path / "history"]
    assert write("--policy", policy, *BY_HAND, *history, "--out", tmp_path) == 2
    assert "got the folder" in capsys.readouterr().err
    assert not (tmp_path / "history").exists()


# --- what goes wrong on the way ---


def interrupt():
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@pytest.mark.slow
def test_ctrl_c_while_playing_keeps_whole_episodes(policy, tmp_path, monkeypatch):
    steps, real = [0], CartPoleEnv.step

    def step(self, action):
        steps[0] += 1
        if steps[0] == 100:
            interrupt()
        return real(self, action)

    monkeypatch.setattr(CartPoleEnv, "step", step)
    options = [*BY_HAND, "--policy", policy, "--history", tmp_path / "h", "--episodes", 10]
    assert write(*options, "--out", tmp_path / "t.json") == 130
    assert 0 < len(open_trajectories(tmp_path / "h")) < 10
    assert write(*options, "--out", tmp_path / "t.json") == 0
    assert len(open_trajectories(tmp_path / "h")) == 10


@pytest.mark.slow
def test_ctrl_c_while_asking_pays_for_no_answer_twice(policy, tmp_path, capsys):
    asked = []

    def once_interrupted(body):
        asked.append(str(body["messages"]))
        if len(asked) == 2:
            interrupt()
        return answer(body)

    with LLMServer(once_interrupted) as server:
        options = [
            "--policy", policy, "--model", "openai/test", "--api-base", server.api_base,
            "--cache", tmp_path / "a.sqlite", "--episodes", 12, "--per-episode", 1,
            "--out", tmp_path / "t.json",
        ]  # fmt: skip
        assert write(*options) == 130
        assert not (tmp_path / "t.json").exists()
        said = capsys.readouterr()
        assert "identify" in said.out
        assert write(*options) == 0
    assert len(asked) == len(set(asked)) == 24


def test_a_spent_budget_writes_what_there_is_and_says_so(policy, tmp_path, capsys):
    with LLMServer(answer) as server:
        options = [
            "--policy", policy, "--model", "openai/test", "--api-base", server.api_base,
            "--cache", tmp_path / "a.sqlite", "--episodes", 3, "--per-episode", 1,
            "--out", tmp_path / "t.json",
        ]  # fmt: skip
        with pytest.warns(GuidanceWarning, match="over budget"):
            assert write(*options, "--calls", 5) == 0
        assert "complete   no" in capsys.readouterr().out
        assert not CriticalStates.load(tmp_path / "t.json").provenance["complete"]
        assert write(*options) == 0
        assert len(server.requests) == 6
    assert "complete   yes" in capsys.readouterr().out
