"""`llm-wrappers write ultra`, with a saved policy and a model behind real HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from stable_baselines3 import PPO

from llm_wrappers import CriticalStateOverrideWrapper
from llm_wrappers.cli import main
from llm_wrappers.guidance.critical_states import CriticalStates
from llm_wrappers.guidance.trajectory_files import open_trajectories
from llm_wrappers.llm import allow_requests
from llm_wrappers.testing import LLMServer

ENV = "CartPole-v1"


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "model.zip"
    PPO("MlpPolicy", gym.make(ENV), n_steps=32, batch_size=32, seed=0, device="cpu").save(path)
    return path


@pytest.fixture(autouse=True)
def requests_allowed() -> Iterator[None]:
    with allow_requests(True):
        yield


def answer(body: dict[str, Any]) -> str:
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


def write(*arguments: Any) -> int:
    return main(["write", "ultra", "--env", ENV, *map(str, arguments)])


def test_a_table_is_written_once_and_paid_for_once(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_a_history_is_recorded_once_and_used_again(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand = ["--selector", "return-drop", "--corrector", "reference"]
    history = ["--history", tmp_path / "history", "--episodes", 2, "--out", tmp_path / "t.json"]
    assert write("--policy", policy, *history, *by_hand) == 0
    assert len(open_trajectories(tmp_path / "history")) == 2
    assert "none are played" not in capsys.readouterr().out
    # Without a policy, from what is there.
    assert write(*history, *by_hand) == 0
    assert "2 episodes are in" in capsys.readouterr().out
    assert len(open_trajectories(tmp_path / "history")) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--selector", "random"], "give --model, or both --selector and --corrector"),
        (["--selector", "random", "--corrector", "reference"], "give --policy, or a --history"),
        (["--policy", "none.zip", "--selector", "random", "--corrector", "random"], "none.zip"),
        (["--selector", "nobody", "--corrector", "random", "--policy", "POLICY"], "nobody"),
    ],
)
def test_what_is_missing_is_said(
    arguments: list[str],
    said: str,
    policy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(policy) if argument == "POLICY" else argument for argument in arguments]
    assert write(*given, "--out", tmp_path / "table.json") != 0
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "table.json").exists()


def test_nothing_found_is_a_failure(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LLMServer(json.dumps({"case_analysis": "", "states": []})) as server:
        status = write(
            "--policy", policy, "--model", "openai/test", "--api-base", server.api_base,
            "--cache", tmp_path / "a.sqlite", "--episodes", 1, "--out", tmp_path / "t.json",
        )  # fmt: skip
    assert status != 0
    assert "no critical state was found" in capsys.readouterr().err
    assert not (tmp_path / "t.json").exists()
