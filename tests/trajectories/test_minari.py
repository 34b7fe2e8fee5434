"""Trajectories go to Minari and come back as they were."""

from __future__ import annotations

import importlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from llm_wrappers.errors import (
    DependencyNotInstalled,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.testing import make_scripted_env
from llm_wrappers.trajectories.minari import from_minari, to_minari
from llm_wrappers.trajectories.trajectory import Trajectory
from llm_wrappers.wrappers import TrajectoryRecorder

# With the spaces alone there is no environment for evaluation, and Minari says so.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`eval_env` is set to None:UserWarning"),
    pytest.mark.filterwarnings("ignore:env_spec is None:UserWarning"),
]

# Minari warns of each of these that is missing.
ABOUT: dict[str, Any] = {
    "author": "somebody",
    "author_email": "somebody@example.org",
    "algorithm_name": "random",
    "code_permalink": "https://example.org/code",
    "description": "random actions",
    "requirements": ["gymnasium>=1.1"],
}
MIXED = gym.spaces.Dict(
    picture=gym.spaces.Box(0, 255, (8, 8, 3), np.uint8),
    pair=gym.spaces.Tuple([gym.spaces.Discrete(4), gym.spaces.Text(6, min_length=0)]),
    half=gym.spaces.Box(-1, 1, (2,), np.float16),
)
ACTIONS = gym.spaces.Tuple([gym.spaces.MultiDiscrete([2, 3]), gym.spaces.MultiBinary(3)])


@pytest.fixture
def minari(tmp_path: Path, monkeypatch: Any) -> Any:
    found = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return found


def recorded(env: gym.Env[Any, Any], steps: int = 40, **options: Any) -> list[Trajectory]:
    recorder = TrajectoryRecorder(env, **options)
    recorder.action_space.seed(0)
    recorder.reset(seed=0)
    for _ in range(steps):
        *_, terminated, truncated, _ = recorder.step(recorder.action_space.sample())
        if terminated or truncated:
            recorder.reset()
    return list(recorder.trajectories())


@pytest.mark.parametrize(
    ("make_env", "options"),
    [
        (partial(gym.make, "CartPole-v1", max_episode_steps=9), {"metadata": {"arm": "a/b"}}),
        (partial(gym.make, "Pendulum-v1", max_episode_steps=9), {}),
        (partial(gym.make, "Blackjack-v1"), {}),
        (partial(make_scripted_env, observation_space=MIXED, action_space=ACTIONS),
         {"captions": False}),
    ],
    ids=["cartpole", "pendulum", "blackjack", "mixed"],
)  # fmt: skip
def test_every_bit_goes_there_and_back(minari: Any, make_env: Any, options: Any) -> None:
    env = make_env()
    played = recorded(env, **options)
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
    to_minari(played, "here/played-v0", **spaces, **ABOUT)
    assert list(from_minari("here/played-v0")) == played
    assert len(played) >= 3
    dataset = minari.load_dataset("here/played-v0")
    assert dataset.total_steps == sum(map(len, played))
    assert dataset[0].rewards.tolist() == played[0].rewards.tolist()


def test_the_dataset_knows_its_environment_and_the_words(minari: Any) -> None:
    played = recorded(gym.make("Blackjack-v1"))
    dataset = to_minari(played, "jack/random-v0", env="Blackjack-v1", **ABOUT)
    assert dataset.recover_environment().spec.id == "Blackjack-v1"
    infos = dataset[0].infos
    assert [text.decode() for text in infos["caption"]] == list(played[0].captions or ())
    assert infos["transition_caption"][0] == b""
    assert json.loads(infos["facts"][0]) == (played[0].facts or ())[0]


def test_datasets_of_others_can_be_read(minari: Any) -> None:
    buffer = minari.data_collector.EpisodeBuffer(
        id=0, seed=5,
        observations=np.arange(6, dtype=np.float32).reshape(3, 2),
        actions=np.array([0, 1]),
        rewards=[1.0, 2.0], terminations=[False, False], truncations=[False, True],
        infos={"caption": np.zeros(3)},
    )  # fmt: skip
    minari.create_dataset_from_buffers(
        "theirs-v0",
        [buffer],
        observation_space=gym.spaces.Box(0, 9, (2,), np.float32),
        action_space=gym.spaces.Discrete(2),
        data_format="hdf5",
        **ABOUT,
    )
    (found,) = from_minari(minari.load_dataset("theirs-v0"))
    assert (found.seed, found.terminated, found.truncated) == (5, False, True)
    assert found.returns.tolist() == [3.0, 2.0]
    assert found.captions is None


def test_what_does_not_fit_is_refused(minari: Any) -> None:
    played = recorded(gym.make("Blackjack-v1"))
    with pytest.raises(InvalidOptionError, match="expected at least one trajectory to save"):
        to_minari([], "none-v0", env="Blackjack-v1")
    with pytest.raises(InvalidOptionError, match="expected env, or observation_space and action"):
        to_minari(played, "none-v0", action_space=gym.spaces.Discrete(2))
    lists = gym.spaces.Sequence(gym.spaces.Discrete(2))
    with pytest.raises(IncompatibleEnvironmentError, match="expected actions of Box"):
        to_minari(played, "none-v0", env="Blackjack-v1", action_space=lists)
    with pytest.raises(InvalidOptionError, match=r"got 'none-v0': .*minari\.download_dataset"):
        list(from_minari("none-v0"))


def test_a_dataset_that_exists_is_never_overwritten(minari: Any) -> None:
    played = recorded(gym.make("Blackjack-v1"))
    to_minari(played, "twice-v0", env="Blackjack-v1", **ABOUT)
    with pytest.raises(InvalidOptionError, match=r"Minari cannot make .*already exists"):
        to_minari(played[:1], "twice-v0", env="Blackjack-v1", **ABOUT)
    assert len(minari.load_dataset("twice-v0")) == len(played)


def test_what_is_missing_is_named(monkeypatch: Any) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(DependencyNotInstalled, match=r"pip install \"llm-wrappers\[minari\]\""):
        list(from_minari("any-v0"))
