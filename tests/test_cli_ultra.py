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


@pytest.fixture
def asking(policy, tmp_path):
    """Return the options with which a server is asked about so many episodes."""

    def options(server, episodes):
        return [
            "--policy", policy, "--model", "openai/test", "--api-base", server.api_base,
            "--cache", tmp_path / "answers.sqlite", "--episodes", episodes, "--per-episode", 1,
        ]  # fmt: skip

    with allow_requests(True):
        yield options


def answer(body):
    """Name the last step but one of each episode, and push to where the pole leans there."""
    text = "\n".join(message["content"] for message in body["messages"])
    episodes = re.findall(r"^## Episode (\d+): (\d+) steps", text, re.MULTILINE)
    if ">>>" not in text:
        states = [
            {"episode": number, "step": int(steps) - 2, "importance": 1.0, "rationale": "falls"}
            for number, steps in episodes
        ]
        return json.dumps({"case_analysis": "It pushes at random.", "states": states})
    found = re.findall(r"^>>> \D*(\d+).*leans \S+ degrees? (left|right)", text, re.MULTILINE)
    corrections = [
        {"episode": episodes[0][0], "step": step, "analysis": "", "action": f"push {side}",
         "reward": -1.0}
        for step, side in found
    ]  # fmt: skip
    return json.dumps({"corrections": corrections})


def write(*arguments):
    return main(["write", "ultra", "--env", ENV, *map(str, arguments)])


def test_a_table_is_written_and_paid_for_once_also_where_a_budget_was_spent(
    asking, tmp_path, capsys
):
    out = tmp_path / "one.json"
    with LLMServer(answer) as server:
        with pytest.warns(GuidanceWarning, match="over budget"):
            assert write(*asking(server, 3), "--out", out, "--calls", 5) == 0
        assert "complete   no" in capsys.readouterr().out
        assert not CriticalStates.load(out).provenance["complete"]
        for _ in range(2):
            assert write(*asking(server, 3), "--out", out) == 0
            # One question for each episode, and one for each of its critical steps.
            assert server.count == 6
    said = capsys.readouterr().out
    for words in ("3 of them", "complete   yes", f"file:{out}"):
        assert words in said
    table = CriticalStates.load(out)
    assert len(table.entries) == 3
    assert all(int(entry.action) == (entry.state[2] > 0) for entry in table.entries)
    assert table.provenance["selector"]["model"] == "openai/test"
    CriticalStateOverrideWrapper(gym.make(ENV), critical_states=f"file:{out}").reset(seed=0)


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
        ([*BY_HAND, "--policy", "POLICY", "--out", "FOLDER"], "got the folder"),
    ],
)
def test_what_is_missing_is_said(arguments, said, policy, tmp_path, capsys):
    names = {"POLICY": policy, "FOLDER": tmp_path}
    given = [names.get(argument, argument) for argument in arguments]
    history = tmp_path / "history"
    assert write("--out", tmp_path / "table.json", "--history", history, *given) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "table.json").exists()
    if "FOLDER" in arguments:
        assert not history.exists()


def test_as_many_episodes_as_asked_for_are_used_and_the_rest_played(policy, tmp_path, capsys):
    folder, out = tmp_path / "h", tmp_path / "t.json"
    history = [*BY_HAND, "--history", folder, "--out", out]
    for episodes, said, kept in ((1, "", 1), (3, "1 of 1 episodes", 3), (2, "2 of 3 episodes", 3)):
        assert write(*history, "--policy", policy, "--episodes", episodes) == 0
        assert said in capsys.readouterr().out
        assert len(open_trajectories(folder)) == kept
        assert CriticalStates.load(out).provenance["episodes"] == episodes
    first, second, _ = open_trajectories(folder)
    assert not np.array_equal(first.observations[0], second.observations[0])
    # Without a policy, from what is there; but of this environment and this policy.
    assert write(*history, "--episodes", 9) == 0
    assert "none are played" in capsys.readouterr().out
    other = tmp_path / "other.zip"
    PPO("MlpPolicy", gym.make(ENV), **{**SMALL, "seed": 1}).save(other)
    assert write(*history, "--policy", other) == 2
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
    statistics = tmp_path / "statistics.pkl"
    normalized.save(str(statistics))
    by_hand = ["--selector", "random", "--corrector", "reference"]
    options = [*by_hand, "--policy", tmp_path / "model.zip", "--episodes", 1, "--seed", 3]
    for name, more in (("with", ["--vec-normalize", statistics]), ("without", [])):
        out = tmp_path / f"{name}.json"
        assert write(*options, *more, "--history", tmp_path / name, "--out", out) == 0
    (expected,) = record_trajectories(model, gym.make(ENV), episodes=1, seed=3)
    (seen,), (unseen,) = (open_trajectories(tmp_path / name) for name in ("with", "without"))
    assert seen.actions.tolist() == expected.actions.tolist()
    assert unseen.actions.tolist() != expected.actions.tolist()
    # Torques of a policy as its own corrector; the statistics are not its.
    pendulum, out = tmp_path / "pendulum.zip", tmp_path / "new" / "t.json"
    PPO("MlpPolicy", "Pendulum-v1", **SMALL).save(pendulum)
    other = ["--policy", pendulum, "--env", "Pendulum-v1", "--out", out]
    assert write(*options, *other, "--corrector", f"policy:{pendulum}") == 0
    assert CriticalStates.load(out).actions.shape[1:] == (1,)
    assert write(*options, *other, "--vec-normalize", statistics) == 2
    assert "expected statistics of observations of Box" in capsys.readouterr().err


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
def test_ctrl_c_while_asking_pays_for_no_answer_twice(asking, tmp_path, capsys):
    asked = []

    def once_interrupted(body):
        asked.append(str(body["messages"]))
        if len(asked) == 2:
            interrupt()
        return answer(body)

    out = tmp_path / "t.json"
    with LLMServer(once_interrupted) as server:
        assert write(*asking(server, 12), "--out", out) == 130
        assert not out.exists()
        assert "identify" in capsys.readouterr().out
        assert write(*asking(server, 12), "--out", out) == 0
    assert len(asked) == len(set(asked)) == 24
