"""What the recorder refuses, and what is left of a run that is stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import SyncVectorEnv
from wrapper_doubles import scripted, short_cartpole

from llm_wrappers import wrappers
from llm_wrappers.errors import (
    GuidanceFileError,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.trajectories.files import open_trajectories
from llm_wrappers.wrappers import vector


@pytest.mark.parametrize("kind", [wrappers.TrajectoryRecorder, vector.TrajectoryRecorder])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be a whole number >= 1, got 0"),
        ({"every": True}, "every must be a whole number >= 1, got True"),
        ({"max_episodes": 0}, "max_episodes must be a whole number >= 1, or None for all, got 0"),
        (
            {"max_episodes": 2.5},
            "max_episodes must be a whole number >= 1, or None for all, got 2.5",
        ),
        ({"metadata": "ppo"}, "metadata must be a dict, got 'ppo'"),
        ({"metadata": {"x": object}}, "metadata must be a dict that JSON can hold"),
        ({"metadata": {"episode": 3}}, r"metadata must not have \['episode'\]"),
        ({"captioner": "words"}, "captioner"),
    ],
)
def test_options_that_do_not_fit_are_refused(kind: Any, options: Any, message: str) -> None:
    env: Any = short_cartpole()
    if kind is vector.TrajectoryRecorder:
        env = SyncVectorEnv([short_cartpole])
    with pytest.raises(InvalidOptionError, match=message):
        kind(env, **options)


def test_spaces_and_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    lists = gym.spaces.Sequence(gym.spaces.Discrete(2))
    with pytest.raises(IncompatibleEnvironmentError, match="expected observations of Box"):
        wrappers.TrajectoryRecorder(scripted(observation_space=lists)(), captions=False)
    with pytest.raises(IncompatibleEnvironmentError, match="expected actions of Box"):
        wrappers.TrajectoryRecorder(scripted(action_space=lists)())
    (tmp_path / "file").write_text("")
    with pytest.raises(GuidanceFileError, match="cannot make the folder"):
        wrappers.TrajectoryRecorder(short_cartpole(), folder=tmp_path / "file")


def test_a_folder_that_vanishes_is_made_again(tmp_path: Path) -> None:
    env = wrappers.TrajectoryRecorder(short_cartpole(), folder=tmp_path / "runs")
    (tmp_path / "runs").rmdir()
    env.reset(seed=0)
    while not env.stats()["recorded"]:
        env.step(0)
    assert len(env.trajectories()) == len(open_trajectories(tmp_path / "runs")) == 1


PLAYER = textwrap.dedent(
    """
    import sys
    import gymnasium as gym
    from llm_wrappers.wrappers import TrajectoryRecorder

    env = TrajectoryRecorder(gym.make("CartPole-v1"), folder=sys.argv[1])
    env.action_space.seed(0)
    env.reset(seed=0)
    while True:
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            print(env.stats()["recorded"], flush=True)
            env.reset()
    """
)


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_run_that_is_stopped_keeps_all_its_episodes(tmp_path: Path, kind: int) -> None:
    player = subprocess.Popen(
        [sys.executable, "-c", PLAYER, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert player.stdout is not None
    said = [int(player.stdout.readline()) for _ in range(5)]
    player.send_signal(kind)
    rest, _ = player.communicate(timeout=20)
    said += [int(line) for line in rest.split()]
    assert player.returncode != 0
    found = list(open_trajectories(tmp_path))
    assert said[-1] <= len(found) <= said[-1] + 1
    assert [each.metadata["episode"] for each in found] == list(range(len(found)))
    assert all(each.terminated or each.truncated for each in found)
