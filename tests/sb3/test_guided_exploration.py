"""Guided exploration: random actions are the guide's in part, and all else is a DQN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.methods import ellm
from llm_wrappers.sb3 import GuidedDQN

SMALL: dict[str, Any] = {
    "learning_starts": 100, "buffer_size": 3_000, "device": "cpu", "seed": 0, "train_freq": 4,
    "policy_kwargs": {"net_arch": [32]}, "learning_rate": 1e-3, "exploration_final_eps": 1.0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(threads)


@pytest.fixture(scope="module")
def guide() -> PPO:
    """Return a model that balances the pole for longer than random actions do."""
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=256, batch_size=64, seed=0, device="cpu")
    return model.learn(4_096)


def weights(model: Any) -> list[Any]:
    return [tensor.clone() for tensor in model.policy.state_dict().values()]


def same(one: list[Any], other: list[Any]) -> bool:
    return all(th.equal(left, right) for left, right in zip(one, other, strict=True))


def test_without_a_guide_it_is_a_dqn() -> None:
    options = {**SMALL, "exploration_final_eps": 0.3}
    plain = DQN("MlpPolicy", "CartPole-v1", **options).learn(400)
    ours = GuidedDQN("MlpPolicy", "CartPole-v1", **options).learn(400)
    assert same(weights(plain), weights(ours))
    assert ours.guided == 0 < ours.explored


def mean_length(model: Any) -> float:
    return float(np.mean([episode["l"] for episode in model.ep_info_buffer]))


def test_a_guide_makes_exploring_episodes_longer(guide: PPO) -> None:
    # Everything explores here, so that the length of episodes is the guide's doing alone.
    lengths = {
        share: mean_length(
            GuidedDQN("MlpPolicy", "CartPole-v1", guide=guide, guide_share=share, **SMALL).learn(
                2_000
            )
        )
        for share in (0.0, 0.5, 1.0)
    }
    assert lengths[0.0] < 35
    assert lengths[0.0] * 1.2 < lengths[0.5]
    assert lengths[0.5] * 1.2 < lengths[1.0]


def test_the_share_is_that_of_random_actions_only(guide: PPO) -> None:
    model = GuidedDQN("MlpPolicy", "CartPole-v1", guide=guide, **SMALL)
    model.learn(1_100)
    # The first 100 steps are before `learning_starts`, and not counted.
    assert model.explored == 1_000
    assert 0.43 < model.guided / model.explored < 0.57


def test_greedy_actions_are_not_the_guides(guide: PPO) -> None:
    options = {**SMALL, "exploration_initial_eps": 0.0, "exploration_final_eps": 0.0}
    model = GuidedDQN("MlpPolicy", "CartPole-v1", guide=guide, guide_share=1.0, **options)
    model.learn(300)
    assert model.explored == model.guided == 0
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    model.exploration_rate = 1.0
    actions, _ = model.predict(observations, deterministic=True)
    assert np.array_equal(actions, model.policy.predict(observations, deterministic=True)[0])
    assert model.explored == 0


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_actions_have_the_shape_of_the_observations(guide: PPO, share: float) -> None:
    model = GuidedDQN("MlpPolicy", "CartPole-v1", guide=guide, guide_share=share, **SMALL)
    model.exploration_rate = 1.0
    one, _ = model.predict(np.zeros(4, dtype=np.float32))
    many, _ = model.predict(np.zeros((6, 4), dtype=np.float32))
    assert np.shape(one) == ()
    assert many.shape == (6,)
    assert model.action_space.contains(one)


def test_the_guide_is_not_trained(guide: PPO) -> None:
    before = weights(guide)
    GuidedDQN("MlpPolicy", "CartPole-v1", guide=guide.policy, **SMALL).learn(600)
    assert same(before, weights(guide))


def test_it_is_saved_and_loaded_with_its_guide(guide: PPO, tmp_path: Path) -> None:
    model = GuidedDQN("MlpPolicy", "CartPole-v1", guide=guide, guide_share=0.25, **SMALL)
    model.learn(300)
    model.save(tmp_path / "model.zip")
    loaded = GuidedDQN.load(tmp_path / "model.zip", env=gym.make("CartPole-v1"), device="cpu")
    assert same(weights(model), weights(loaded))
    assert same(weights(guide), [*loaded.guide.state_dict().values()])
    assert (loaded.guide_share, loaded.explored) == (0.25, 200)
    loaded.learn(200, reset_num_timesteps=False)
    assert loaded.explored > 200
    assert loaded.guided > model.guided


def test_a_dqn_can_be_the_guide_and_the_agent_learns_the_task() -> None:
    pretrained = DQN("MlpPolicy", "CartPole-v1", **SMALL).learn(1_500)
    options = {**SMALL, "exploration_final_eps": 0.05, "exploration_fraction": 0.5}
    env = gym.make("CartPole-v1")
    model = GuidedDQN("MlpPolicy", env, guide=pretrained, **options)
    before = weights(model)
    model.learn(1_500)
    assert not same(before, weights(model))
    mean, _ = evaluate_policy(model, model.get_env(), n_eval_episodes=3)
    assert mean > 8


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), "half", True])
def test_the_share_is_checked(share: Any) -> None:
    with pytest.raises(InvalidOptionError, match="guide_share must be a number in"):
        GuidedDQN("MlpPolicy", "CartPole-v1", guide_share=share)


def test_the_guide_is_checked() -> None:
    with pytest.raises(InvalidOptionError, match="trained model or its policy, got a str"):
        GuidedDQN("MlpPolicy", "CartPole-v1", guide="model.zip")
    other = PPO("MlpPolicy", "MountainCar-v0", device="cpu")
    with pytest.raises(IncompatibleEnvironmentError, match="the observation_space"):
        GuidedDQN("MlpPolicy", "CartPole-v1", guide=other, device="cpu")


def test_an_agent_is_pretrained_and_then_learns_one_deed_of_crafter() -> None:
    """ELLM's two phases on its own game, small: rewards of suggestions, then of a task."""
    options: dict[str, Any] = {
        "learning_starts": 8, "buffer_size": 60, "device": "cpu", "seed": 0, "batch_size": 4,
    }  # fmt: skip
    small = {"easier": True, "size": 36, "area": (16, 16), "length": 20}
    pretraining = ellm.wrap(gym.make("llm_wrappers/EllmCrafter-v1", **small), "novelty")
    pretrained = DQN("CnnPolicy", pretraining, **options).learn(30)
    task = gym.make("llm_wrappers/EllmCrafter-v1", task="chop grass", **small)
    model = GuidedDQN("CnnPolicy", task, guide=pretrained, exploration_final_eps=1.0, **options)
    model.learn(40)
    assert 0 < model.guided < model.explored == 32
