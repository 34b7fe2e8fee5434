"""Mask networks: what blinding does, what they learn, and how they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from fork_doubles import FORK, STEPS, Fork, knowing_policy
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from llm_wrappers.errors import (
    GuidanceFileError,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.guidance.critical.finding import Selector
from llm_wrappers.sb3 import record_trajectories
from llm_wrappers.sb3._blinding_env import BLINDED, KEPT, BlindingEnv
from llm_wrappers.sb3._frozen_model import FrozenModel
from llm_wrappers.sb3.baselines.state_mask import StateMask, named_state_mask, train_state_mask
from llm_wrappers.trajectories.trajectory import Trajectory

QUICK: dict[str, Any] = {"n_steps": 256, "batch_size": 128, "n_epochs": 4, "learning_rate": 3e-3}


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(threads)


@pytest.fixture(scope="module")
def knowing() -> PPO:
    return knowing_policy()


@pytest.fixture(scope="module")
def cartpole() -> PPO:
    return PPO("MlpPolicy", "CartPole-v1", n_steps=128, seed=0, device="cpu")


@pytest.fixture(scope="module")
def mask(cartpole: PPO) -> StateMask:
    return train_state_mask(cartpole, gym.make("CartPole-v1"), steps=2048, ppo=QUICK)


def blinding(model: Any, env: Any, *, alpha: float = 0.25, seed: int = 0) -> BlindingEnv:
    return BlindingEnv(env, FrozenModel(model), alpha=alpha, deterministic=True, seed=seed)


def test_a_kept_step_is_the_policys_and_a_blinded_one_is_random_and_paid(knowing: PPO) -> None:
    inner = Fork()
    env = blinding(knowing, inner)
    assert env.action_space == gym.spaces.Discrete(2)
    env.reset(seed=0)
    kept = [env.step(KEPT)[1] for _ in range(STEPS)]
    assert kept == [10.0 * (step == FORK) for step in range(STEPS)]
    done: list[int] = []
    for seed in range(40):
        env.reset(seed=seed)
        paid = [env.step(BLINDED)[1] for _ in range(STEPS)]
        pairs = enumerate(zip(paid, inner.executed, strict=True))
        assert all(p == 0.25 + 10.0 * (step == FORK and a == 1) for step, (p, a) in pairs)
        done += inner.executed
    # 400 fair coins: a standard deviation is 0.025.
    assert np.mean(done) == pytest.approx(0.5, abs=0.1)


class Shaped(gym.RewardWrapper[Any, Any]):
    """Pays 100 more in each step, and says what the environment paid, as guidance does."""

    def reward(self, reward: Any) -> Any:
        self.paid = reward
        return reward + 100.0

    def step(self, action: Any) -> Any:
        *result, info = super().step(action)
        return *result, {**info, "extrinsic_reward": self.paid}


def test_rewards_of_guidance_do_not_count(knowing: PPO) -> None:
    env = blinding(knowing, Shaped(Fork()))
    env.reset(seed=0)
    assert [env.step(KEPT)[1] for _ in range(STEPS)] == [10.0 * (s == FORK) for s in range(STEPS)]


def test_random_actions_follow_the_seed_and_leave_the_space_alone(knowing: PPO) -> None:
    def executed(seed: int) -> list[int]:
        inner = Fork()
        inner.action_space.seed(9)
        env = blinding(knowing, inner, seed=seed)
        env.reset(seed=0)
        for _ in range(STEPS):
            env.step(BLINDED)
        assert inner.action_space.sample() == gym.spaces.Discrete(2, seed=9).sample()
        return inner.executed

    assert executed(1) == executed(1) != executed(2)


def test_toy_text_is_masked_too_though_it_takes_numbers_only() -> None:
    lake = gym.make("FrozenLake-v1")
    model = PPO("MlpPolicy", lake, n_steps=64, seed=0, device="cpu")
    mask = train_state_mask(model, lake, steps=64, ppo={"n_steps": 64})
    history = record_trajectories(model, lake, episodes=2, seed=0)
    assert [len(row) for row in mask.importances(history)] == [len(each) for each in history]


class Masked(gym.Wrapper[Any, Any, Any, Any]):
    """Allows the first action of two spaces only, and asserts that it was taken."""

    def __init__(self, space: gym.Space[Any], flags: list[bool]) -> None:
        super().__init__(Fork())
        self.action_space = space
        self.flags = flags

    def action_masks(self) -> Any:
        return np.array(self.flags)

    def step(self, action: Any) -> Any:
        parts = np.split(np.arange(len(self.flags)), [3] if len(self.flags) == 5 else [])
        assert all(self.flags[part[a]] for part, a in zip(parts, np.ravel(action), strict=True))
        return self.env.step(0)


@pytest.mark.parametrize(
    ("space", "flags"),
    [
        (gym.spaces.Discrete(4), [False, True, False, True]),
        (gym.spaces.MultiDiscrete([3, 2]), [False, True, False, True, False]),
    ],
    ids=["discrete", "multi-discrete"],
)
def test_forbidden_actions_are_neither_kept_nor_drawn(space: Any, flags: list[bool]) -> None:
    inner = Masked(space, flags)
    model = MaskablePPO("MlpPolicy", inner, device="cpu")
    env = blinding(model, inner)
    for number in range(3):
        env.reset(seed=number)
        for step in range(STEPS):
            env.step(BLINDED if step % 3 else KEPT)


def test_masks_of_other_spaces_are_refused() -> None:
    inner = Masked(gym.spaces.MultiBinary(2), [True] * 4)
    env = blinding(MaskablePPO("MlpPolicy", inner, device="cpu"), inner)
    env.reset(seed=0)
    with pytest.raises(IncompatibleEnvironmentError, match="masks of a Discrete or MultiDiscrete"):
        env.step(BLINDED)


def test_the_mask_keeps_the_decisive_step_and_blinds_others(knowing: PPO) -> None:
    """Blinding pays a little at each step, and costs half of ten at the fork."""
    eager = {"n_steps": 128, "batch_size": 128, "n_epochs": 10, "learning_rate": 1e-2}
    mask = train_state_mask(knowing, Fork(), steps=1280, alpha=0.5, ppo=eager)
    history = record_trajectories(knowing, Fork(), episodes=2, seed=0, captions=False)
    [row, _] = mask.importances(history)
    assert row.shape == (STEPS,)
    assert row.argmax() == FORK
    assert row[FORK] > 0.5
    assert np.delete(row, FORK).mean() < 0.4
    moments = mask.select(history, per_episode=1)
    assert [(moment.episode, moment.step) for moment in moments] == [(0, FORK), (1, FORK)]
    assert moments[0].importance == row[FORK]
    assert moments[0].rationale.endswith(f"with probability {row[FORK]:.3g}")


def test_a_larger_bonus_blinds_more(knowing: PPO) -> None:
    history = record_trajectories(knowing, Fork(), episodes=1, seed=0, captions=False)
    means = [
        train_state_mask(knowing, Fork(), steps=768, alpha=alpha, ppo=QUICK)
        .importances(history)[0]
        .mean()
        for alpha in (0.0, 20.0)
    ]
    assert means[1] < means[0] - 0.2


def test_on_cartpole_importances_are_probabilities_and_the_model_is_left_alone(
    cartpole: PPO, mask: StateMask
) -> None:
    assert isinstance(mask, Selector)
    history = record_trajectories(cartpole, gym.make("CartPole-v1"), episodes=4, seed=5)
    rows = mask.importances(history)
    assert [len(row) for row in rows] == [len(each) for each in history]
    every = np.concatenate(rows)
    assert ((every >= 0.0) & (every <= 1.0)).all()
    assert len(np.unique(every)) > 10
    before = PPO("MlpPolicy", "CartPole-v1", n_steps=128, seed=0, device="cpu")
    for name, weights in cartpole.policy.state_dict().items():
        assert th.equal(weights, before.policy.state_dict()[name])
    assert cartpole.num_timesteps == 0
    again = train_state_mask(cartpole, gym.make("CartPole-v1"), steps=512, ppo=QUICK, seed=1)
    twin = train_state_mask(cartpole, gym.make("CartPole-v1"), steps=512, ppo=QUICK, seed=1)
    pairs = zip(again.importances(history), twin.importances(history), strict=True)
    assert all((one == two).all() for one, two in pairs)


def test_a_mask_is_saved_and_loaded(cartpole: PPO, mask: StateMask, tmp_path: Path) -> None:
    history = record_trajectories(cartpole, gym.make("CartPole-v1"), episodes=2, seed=5)
    path = tmp_path / "deep" / "mask.zip"
    mask.save(path)
    loaded = StateMask.load(path, cartpole, min_gap=3)
    named = named_state_mask(str(path), model=cartpole, env=None)
    for other in (loaded, named):
        pairs = zip(mask.importances(history), other.importances(history), strict=True)
        assert all((one == two).all() for one, two in pairs)
    steps = [m.step for m in loaded.select(history[:1], per_episode=3)]
    assert (np.diff(steps) >= 3).all()


def test_files_that_hold_no_mask_are_refused(cartpole: PPO, tmp_path: Path) -> None:
    with pytest.raises(GuidanceFileError, match=r"written by StateMask\.save"):
        StateMask.load(tmp_path / "none.zip", cartpole)
    PPO("MlpPolicy", "Pendulum-v1", device="cpu").save(tmp_path / "other.zip")
    with pytest.raises(GuidanceFileError, match="two actions, keep and blind"):
        StateMask.load(tmp_path / "other.zip", cartpole)


def test_faults_that_are_not_of_the_file_are_not_blamed_on_it(
    mask: StateMask, cartpole: PPO, tmp_path: Path
) -> None:
    mask.save(tmp_path / "mask.zip")
    with pytest.raises(InvalidOptionError, match="min_gap must be a whole number"):
        StateMask.load(tmp_path / "mask.zip", cartpole, min_gap=0)
    memory = RecurrentPPO("MlpLstmPolicy", "CartPole-v1", n_steps=8, device="cpu")
    with pytest.raises(IncompatibleEnvironmentError, match="a policy without memory"):
        StateMask.load(tmp_path / "mask.zip", memory)


def test_long_episodes_are_looked_at_in_parts(mask: StateMask, monkeypatch: Any) -> None:
    observations = np.random.default_rng(0).normal(size=(26, 4))
    long = Trajectory(observations, np.zeros(25, int), np.ones(25), False, True)
    [whole] = mask.importances([long])
    monkeypatch.setattr("llm_wrappers.sb3._frozen_model._BATCH", 7)
    [parts] = mask.importances([long])
    assert parts == pytest.approx(whole)
    assert len(np.unique(whole)) == 25


def test_the_mask_sees_what_the_policy_sees() -> None:
    envs = VecNormalize(make_vec_env("CartPole-v1", n_envs=1), norm_reward=False)
    model = PPO("MlpPolicy", envs, n_steps=64, batch_size=64, seed=0, device="cpu").learn(256)
    normalizer = model.get_vec_normalize_env()
    assert normalizer is not None
    env = blinding(model, gym.make("CartPole-v1"))
    observation, _ = env.reset(seed=4)
    raw, _ = gym.make("CartPole-v1").reset(seed=4)
    assert observation.tolist() == normalizer.normalize_obs(raw).tolist() != raw.tolist()
    assert env.observation_space == normalizer.observation_space
    mask = train_state_mask(model, gym.make("CartPole-v1"), steps=256, ppo=QUICK)
    history = record_trajectories(model, gym.make("CartPole-v1"), episodes=1, seed=0)
    plain = PPO("MlpPolicy", "CartPole-v1", device="cpu")
    [row], [other], [given] = (
        found.importances(history)
        for found in (
            mask,
            StateMask(mask.network, plain),
            StateMask(mask.network, plain, normalizer=normalizer),
        )
    )
    assert row.tolist() == given.tolist() != other.tolist()


def test_a_callback_can_stop_the_training(knowing: PPO) -> None:
    stop = StopTrainingOnMaxEpisodes(3)
    mask = train_state_mask(knowing, Fork(), steps=5000, callback=stop, ppo=QUICK)
    assert mask.network.num_timesteps < 256


def test_names_train_as_long_as_they_say(knowing: PPO) -> None:
    mask = named_state_mask("512", model=knowing, env=Fork(), seed=3, description=None)
    assert mask.network.num_timesteps == 512
    assert mask.network.seed == 3


@pytest.mark.parametrize(
    ("call", "error", "problem"),
    [
        (lambda m: train_state_mask(m, Fork(), steps=0), InvalidOptionError, "steps must be"),
        (lambda m: train_state_mask(m, Fork(), seed=-1), InvalidOptionError, "seed must be"),
        (lambda m: train_state_mask(m, Fork(), alpha=-1.0), InvalidOptionError, "alpha must be"),
        (lambda m: train_state_mask(m, make_vec_env(Fork)), InvalidOptionError, "a single one"),
        (lambda m: train_state_mask(3, Fork()), InvalidOptionError, "got a int"),  # type: ignore[arg-type]
        (lambda m: train_state_mask(m, Fork(), alpha="1"), InvalidOptionError, "alpha must be"),  # type: ignore[arg-type]
        (lambda m: StateMask(m, m, min_gap=0), InvalidOptionError, "min_gap must be"),
        (lambda m: StateMask(None, m), InvalidOptionError, "two actions, keep and blind, got a No"),  # type: ignore[arg-type]
        (lambda m: named_state_mask("", env=Fork()), InvalidOptionError, "needs model="),
        (lambda m: named_state_mask("9", model=m), InvalidOptionError, "needs env=.*to train"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(call: Any, error: Any, problem: str, knowing: PPO) -> None:
    with pytest.raises(error, match=problem):
        call(knowing)


def test_what_does_not_fit_is_refused(mask: StateMask) -> None:
    memory = RecurrentPPO("MlpLstmPolicy", "CartPole-v1", device="cpu")
    with pytest.raises(IncompatibleEnvironmentError, match="a policy without memory"):
        train_state_mask(memory, gym.make("CartPole-v1"), steps=64)
    other = DQN("MlpPolicy", "MountainCar-v0", device="cpu", buffer_size=10)
    history = record_trajectories(other, gym.make("MountainCar-v0"), episodes=1, captions=False)
    with pytest.raises(IncompatibleEnvironmentError, match="as the model was trained"):
        mask.importances(history)


class Parts(gym.ObservationWrapper[Any, Any, Any]):
    """The fork as a Dict observation."""

    def __init__(self) -> None:
        env = Fork()
        super().__init__(env)
        self.observation_space = gym.spaces.Dict({"place": env.observation_space})

    def observation(self, observation: Any) -> Any:
        return {"place": observation}


def test_dict_observations_are_masked() -> None:
    model = DQN("MultiInputPolicy", Parts(), device="cpu", buffer_size=10, seed=0)
    mask = train_state_mask(model, Parts(), steps=64, ppo={"n_steps": 64})
    history = record_trajectories(model, Parts(), episodes=1, seed=0, captions=False)
    assert len(mask.select(history, per_episode=3)) == 3
