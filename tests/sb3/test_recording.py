"""Playing a model and recording it, with real algorithms of Stable-Baselines3."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.sb3.models import load_normalizer, normalize_with, training_env
from llm_wrappers.sb3.recording import record_trajectories
from llm_wrappers.testing import ScriptedPlanner, make_scripted_env
from llm_wrappers.trajectories.files import open_trajectories
from llm_wrappers.wrappers import ActionMaskWrapper, GoalObservationWrapper

short_cartpole = partial(gym.make, "CartPole-v1", max_episode_steps=12)
SMALL: dict[str, Any] = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "device": "cpu", "seed": 0}


@pytest.fixture(scope="module")
def ppo() -> PPO:
    return PPO("MlpPolicy", short_cartpole(), n_steps=16, batch_size=16, seed=0, device="cpu")


def test_a_model_is_played_and_what_it_did_is_returned(ppo: PPO, tmp_path: Path) -> None:
    env = short_cartpole()
    found = record_trajectories(
        ppo, env, episodes=3, seed=4, deterministic=True, folder=tmp_path, metadata={"arm": "ppo"}
    )
    assert len(found) == 3 == len(open_trajectories(tmp_path))
    for each in found:
        chosen, _ = ppo.predict(each.observations[:-1], deterministic=True)
        assert each.actions.tolist() == chosen.tolist()
        assert each.metadata["arm"] == "ppo"
        assert each.captions is not None
    assert found[0].seed == 4
    # Only the episodes of this call, and the environment can be used further.
    assert len(record_trajectories(ppo, env, episodes=1, folder=tmp_path)) == 1
    env.reset()


def test_a_seed_makes_the_run_repeatable_and_leaves_torch_alone(ppo: PPO) -> None:
    before = torch.get_rng_state()
    runs = [record_trajectories(ppo, short_cartpole(), episodes=3, seed=s) for s in (1, 1, 2)]
    assert torch.equal(before, torch.get_rng_state())
    assert list(runs[0]) == list(runs[1])
    assert runs[0][0] != runs[2][0]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_environments_give_what_each_sub_environment_gives_alone(
    ppo: PPO, mode: Any
) -> None:
    envs = SyncVectorEnv([short_cartpole] * 3, autoreset_mode=mode)
    found = record_trajectories(ppo, envs, episodes=3, seed=7, deterministic=True)
    assert sorted(each.seed or 0 for each in found) == [7, 8, 9]
    for each in found:
        (alone,) = record_trajectories(
            ppo, short_cartpole(), episodes=1, seed=each.seed, deterministic=True
        )
        np.testing.assert_array_equal(each.observations, alone.observations)
        assert each.actions.tolist() == alone.actions.tolist()


def test_observations_are_normalised_for_the_model_and_not_in_the_record() -> None:
    make_env = partial(gym.make, "Pendulum-v1", max_episode_steps=12)
    vec_env = VecNormalize(DummyVecEnv([make_env]))
    model = SAC("MlpPolicy", vec_env, learning_starts=1, seed=0, device="cpu")
    model.learn(40)
    (found,) = record_trajectories(model, make_env(), episodes=1, seed=0, deterministic=True)
    alone = make_env()
    first, _ = alone.reset(seed=0)
    np.testing.assert_array_equal(found.observations[0], first)
    chosen, _ = model.predict(vec_env.normalize_obs(found.observations[:-1]), deterministic=True)
    np.testing.assert_allclose(found.actions, chosen, rtol=1e-4, atol=1e-5)


def test_a_bar_counts_episodes(ppo: PPO, capsys: Any) -> None:
    record_trajectories(ppo, short_cartpole(), episodes=2)
    assert capsys.readouterr().err == ""
    record_trajectories(ppo, short_cartpole(), episodes=2, progress_bar=True)
    assert "2/2" in capsys.readouterr().err


def test_an_interrupt_leaves_the_finished_episodes(
    ppo: PPO, tmp_path: Path, monkeypatch: Any
) -> None:
    predict, calls = ppo.predict, []

    def interrupted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) > 30:
            raise KeyboardInterrupt
        return predict(*args, **options)

    monkeypatch.setattr(ppo, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record_trajectories(ppo, short_cartpole(), episodes=50, folder=tmp_path)
    found = open_trajectories(tmp_path)
    assert len(found) >= 2
    assert sum(map(len, found)) <= 30


def test_a_policy_with_a_memory_keeps_it_during_an_episode_and_no_longer() -> None:
    model = RecurrentPPO(
        "MlpLstmPolicy", short_cartpole(), policy_kwargs={"lstm_hidden_size": 16}, **SMALL
    )
    for weights in model.policy.parameters():
        # An untrained policy hardly looks at its memory.
        torch.nn.init.normal_(weights)
    played = record_trajectories(model, short_cartpole(), episodes=3, seed=0, deterministic=True)
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


def test_masks_are_given_to_a_model_that_takes_them_and_missed_where_there_are_none() -> None:
    def make_env() -> Any:
        planner = ScriptedPlanner([("left", 1.0)])
        env = GoalObservationWrapper(make_scripted_env(), planner=planner, goals=["left"])
        return ActionMaskWrapper(env, masks={"left": [1]})

    model = MaskablePPO("MultiInputPolicy", make_env(), n_steps=16, batch_size=16, device="cpu")
    for found in record_trajectories(model, make_env(), episodes=3, seed=0):
        assert found.actions.tolist() == [1] * len(found)
    with pytest.raises(
        IncompatibleEnvironmentError, match=r"action_masks\(\), which a MaskablePPO"
    ):
        record_trajectories(model, make_env().env, episodes=1)


@pytest.mark.parametrize("normalized", [False, True])
def test_what_does_not_fit_is_refused_before_it_is_played(normalized: bool, ppo: PPO) -> None:
    model = ppo
    if normalized:
        model = PPO("MlpPolicy", VecNormalize(DummyVecEnv([short_cartpole])), **SMALL)
    with pytest.raises(IncompatibleEnvironmentError, match="spaces do not match; wrap the"):
        record_trajectories(model, gym.make("MountainCar-v0"), episodes=1)
    with pytest.raises(InvalidOptionError, match="got DummyVecEnv: give what it was made from"):
        record_trajectories(model, make_vec_env("CartPole-v1"), episodes=1)  # type: ignore
    with pytest.raises(InvalidOptionError, match=r"^episodes must be a whole number >= 1, got 0"):
        record_trajectories(model, short_cartpole(), episodes=0)


# --- lending a model another environment ---


@pytest.mark.parametrize("loaded", [False, True])
def test_a_model_gets_its_own_environment_back_or_none(loaded: bool, tmp_path: Path) -> None:
    own = VecNormalize(DummyVecEnv([short_cartpole]))
    model = PPO("MlpPolicy", own, **SMALL).learn(16)
    counted = own.obs_rms.count
    if loaded:
        model.save(tmp_path / "model.zip")
        own.save(tmp_path / "statistics.pkl")
        model = PPO.load(tmp_path / "model.zip", device="cpu")
        normalize_with(load_normalizer(tmp_path / "statistics.pkl"), model, short_cartpole())
    with training_env(model, short_cartpole()):
        model.learn(16, reset_num_timesteps=False)
    assert model.get_env() is (None if loaded else own)
    if not loaded:
        # The statistics go on; those of a file are left as they are.
        assert own.obs_rms.count == counted + 17
    model.set_env(own)
    assert model.learn(16, reset_num_timesteps=False).num_timesteps == 48


def test_environments_and_statistics_that_do_not_fit_are_not_lent(ppo: PPO) -> None:
    with (
        pytest.raises(IncompatibleEnvironmentError, match="in 1 environments at once, got 2"),
        training_env(ppo, SyncVectorEnv([short_cartpole] * 2)),
    ):
        pass
    with (
        pytest.raises(IncompatibleEnvironmentError, match="spaces do not match"),
        training_env(ppo, gym.make("MountainCar-v0")),
    ):
        pass
    normalizer = VecNormalize(DummyVecEnv([lambda: gym.make("MountainCar-v0")]))
    with pytest.raises(IncompatibleEnvironmentError, match="give the file that was saved with"):
        normalize_with(normalizer, ppo, short_cartpole())
