"""Models of many kinds are played and refined as they were trained, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from llm_wrappers.errors import GuidanceFileError, IncompatibleEnvironmentError
from llm_wrappers.guidance.critical.finding import CriticalMoment
from llm_wrappers.guidance.critical.table import CriticalState
from llm_wrappers.sb3 import record_trajectories, refine
from llm_wrappers.trajectories.trajectory import Trajectory

cart_pole = partial(gym.make, "CartPole-v1", max_episode_steps=40)
BY_HAND: dict[str, Any] = {"selector": "return-drop", "corrector": "reference"}
SMALL: dict[str, Any] = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "device": "cpu", "seed": 0}


class AlwaysOne:
    """Advises action 1 wherever it is asked."""

    def correct(
        self, trajectories: Sequence[Trajectory], moments: Sequence[CriticalMoment]
    ) -> list[CriticalState]:
        return [
            CriticalState(trajectories[moment.episode].observations[moment.step], 1, reward=-1.0)
            for moment in moments
        ]


def test_a_policy_with_a_memory_keeps_it_during_an_episode_and_no_longer() -> None:
    model = RecurrentPPO(
        "MlpLstmPolicy", cart_pole(), policy_kwargs={"lstm_hidden_size": 16}, **SMALL
    )
    for weights in model.policy.parameters():
        # An untrained policy hardly looks at its memory.
        torch.nn.init.normal_(weights)
    played = record_trajectories(model, cart_pole(), episodes=3, seed=0, deterministic=True)
    forgetful = []
    for trajectory in played:
        memory: Any = None
        for step, action in enumerate(trajectory.actions):
            state = trajectory.observations[step]
            said, memory = model.predict(state, memory, np.array([step == 0]), deterministic=True)
            assert said == action
            forgetful.append(model.predict(state, deterministic=True)[0] == action)
    # Else this test would pass without any memory.
    assert not all(forgetful)


@pytest.mark.parametrize("key", ["exact", "nearest:0.25"])
def test_pictures_are_recorded_as_the_environment_gives_them(key: str) -> None:
    def pictures() -> gym.Env[Any, Any]:
        return gym.wrappers.TimeLimit(FakeImageEnv(screen_height=36, screen_width=36), 6)

    model = PPO("CnnPolicy", pictures(), policy_kwargs={"net_arch": []}, **SMALL)
    refinement = refine(
        model, pictures(), steps=16, episodes=2, key=key, seed=0,
        selector="random", corrector=AlwaysOne(),
    )  # fmt: skip
    assert refinement.critical_states.states.shape[1:] == (36, 36, 1)
    assert refinement.stats["steps"] == 16


@pytest.mark.parametrize("env_id", ["MountainCar-v0", "Acrobot-v1"])
def test_an_environment_of_other_spaces_is_refused_before_it_is_played(env_id: str) -> None:
    model = PPO("MlpPolicy", cart_pole(), **SMALL)
    with pytest.raises(IncompatibleEnvironmentError, match="spaces do not match; wrap the"):
        record_trajectories(model, gym.make(env_id), episodes=1)
    with pytest.raises(IncompatibleEnvironmentError, match="spaces do not match; wrap the"):
        refine(model, gym.make(env_id), steps=16, **BY_HAND)


def test_masks_that_are_not_there_are_said_before_anything_is_played() -> None:
    class AllAllowed(gym.Wrapper[Any, Any, Any, Any]):
        def action_masks(self) -> Any:
            return np.ones(2, dtype=np.bool_)

    model = MaskablePPO("MlpPolicy", AllAllowed(cart_pole()), **SMALL)
    assert len(record_trajectories(model, AllAllowed(cart_pole()), episodes=1)) == 1
    with pytest.raises(
        IncompatibleEnvironmentError, match=r"action_masks\(\), which a MaskablePPO"
    ):
        record_trajectories(model, cart_pole(), episodes=1)


def test_statistics_of_other_observations_are_refused() -> None:
    model = PPO("MlpPolicy", VecNormalize(DummyVecEnv([cart_pole])), **SMALL)
    with pytest.raises(IncompatibleEnvironmentError, match="spaces do not match"):
        record_trajectories(model, gym.make("MountainCar-v0"), episodes=1)


def test_a_model_without_an_environment_is_not_left_with_the_one_that_advises(
    tmp_path: Path,
) -> None:
    PPO("MlpPolicy", cart_pole(), **SMALL).save(tmp_path / "model.zip")
    model = PPO.load(tmp_path / "model.zip", device="cpu")
    refine(model, cart_pole(), steps=16, episodes=1, seed=0, **BY_HAND)
    assert model.get_env() is None
    model.set_env(cart_pole())
    assert model.learn(16, reset_num_timesteps=False).num_timesteps == 32


def test_statistics_that_were_loaded_go_on_and_nothing_advises_afterwards(tmp_path: Path) -> None:
    normalized = VecNormalize(DummyVecEnv([cart_pole]))
    PPO("MlpPolicy", normalized, **SMALL).learn(16).save(tmp_path / "model.zip")
    normalized.save(tmp_path / "statistics.pkl")
    loaded = VecNormalize.load(tmp_path / "statistics.pkl", DummyVecEnv([cart_pole]))
    model = PPO.load(tmp_path / "model.zip", env=loaded, device="cpu")
    counted = loaded.obs_rms.count
    refine(model, cart_pole(), steps=16, episodes=1, seed=0, **BY_HAND)
    assert loaded.obs_rms.count == counted + 17
    assert model.get_env() is loaded


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_played(tmp_path: Path) -> None:
    class Untouchable(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            raise AssertionError("played")

    (tmp_path / "file").touch()
    model = PPO("MlpPolicy", cart_pole(), **SMALL)
    with pytest.raises(GuidanceFileError, match="cannot make the folder"):
        refine(model, Untouchable(cart_pole()), steps=16, folder=tmp_path / "file", **BY_HAND)
