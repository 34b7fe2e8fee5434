"""What only the callback can know of shifted rewards: the discount of the algorithm."""

import warnings

import gymnasium as gym
import pytest
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from llm_wrappers import RewardShiftWrapper
from llm_wrappers.errors import GuidanceWarning, InvalidOptionError
from llm_wrappers.sb3 import GuidanceCallback, as_vec_env
from llm_wrappers.wrappers import vector


def cart_pole(**options):
    return RewardShiftWrapper(gym.make("CartPole-v1"), **{"judge": "reference", **options})


class TestGamma:
    def test_another_discount_is_refused(self):
        env = cart_pole(mode="potential", gamma=0.9)
        model = A2C("MlpPolicy", env, gamma=0.99, device="cpu")
        with pytest.raises(InvalidOptionError, match=r"gamma=0\.9, and .* gamma=0\.99"):
            model.learn(10, callback=GuidanceCallback())

    def test_the_same_is_fine(self):
        env = cart_pole(mode="potential", gamma=0.97)
        A2C("MlpPolicy", env, gamma=0.97, device="cpu").learn(10, callback=GuidanceCallback())

    def test_through_the_bridge(self):
        envs = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
        envs = vector.RewardShiftWrapper(envs, judge="reference", mode="potential", gamma=0.9)
        model = A2C("MlpPolicy", as_vec_env(envs), gamma=0.99, device="cpu")
        with pytest.raises(InvalidOptionError, match="give both the same"):
            model.learn(10, callback=GuidanceCallback())


class TestOutweighing:
    def test_is_warned_of_once(self):
        model = A2C("MlpPolicy", cart_pole(judge="anti-oracle", scale=100.0), seed=0, device="cpu")
        with pytest.warns(GuidanceWarning, match="may live off approval") as said:
            model.learn(1200, callback=GuidanceCallback())
        assert len(said) == 1

    @pytest.mark.parametrize("options", [{"scale": 1e-3}, {"mode": "potential", "gamma": 0.99}])
    def test_is_not_said_where_it_does_not_hold(self, options):
        model = A2C("MlpPolicy", cart_pole(**options), seed=0, device="cpu")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.learn(1200, callback=GuidanceCallback())


class TestTraining:
    @pytest.mark.parametrize("algorithm", [DQN, PPO, A2C])
    def test_discrete_algorithms_train_unchanged(self, algorithm):
        options = {"n_steps": 64, "batch_size": 64} if algorithm is PPO else {}
        env = cart_pole(scale=0.01, audit_against="oracle")
        algorithm("MlpPolicy", env, device="cpu", **options).learn(256, callback=GuidanceCallback())
        assert env.audit()["agreement"] == 1.0
        assert env.audit()["judged"] >= 256

    @pytest.mark.parametrize("algorithm", [SAC, TD3])
    def test_continuous_algorithms_train_unchanged(self, algorithm):
        env = RewardShiftWrapper(gym.make("Pendulum-v1"), judge="reference")
        model = algorithm("MlpPolicy", env, learning_starts=50, device="cpu")
        model.learn(80, callback=GuidanceCallback())
        assert env.audit()["judged"] >= 80

    def test_a_judge_that_knows_nothing_changes_nothing(self):
        weights = []
        for env in (gym.make("CartPole-v1"), cart_pole(judge="none")):
            model = A2C("MlpPolicy", env, seed=3, device="cpu").learn(200)
            weights.append(model.policy.action_net.weight.detach().numpy().copy())
        assert (weights[0] == weights[1]).all()


class TestMonitor:
    """Which reward is logged depends on which side of the wrapper the monitor is."""

    def test_inside_logs_the_rewards_of_the_environment(self):
        inside = RewardShiftWrapper(Monitor(gym.make("CartPole-v1")), judge="constant:1")
        model = A2C("MlpPolicy", inside, seed=0, device="cpu").learn(300)
        returns = [episode["r"] for episode in model.ep_info_buffer]
        lengths = [episode["l"] for episode in model.ep_info_buffer]
        assert returns == lengths

    def test_outside_logs_the_shifted_ones(self):
        outside = Monitor(RewardShiftWrapper(gym.make("CartPole-v1"), judge="constant:1"))
        model = A2C("MlpPolicy", outside, seed=0, device="cpu").learn(300)
        assert all(episode["r"] == 2 * episode["l"] for episode in model.ep_info_buffer)

    def test_vectorised_by_stable_baselines3_is_inside(self):
        envs = make_vec_env(
            "CartPole-v1", n_envs=2, wrapper_class=RewardShiftWrapper,
            wrapper_kwargs={"judge": "constant:1"},
        )  # fmt: skip
        model = A2C("MlpPolicy", envs, seed=0, device="cpu").learn(300)
        assert all(episode["r"] == episode["l"] for episode in model.ep_info_buffer)

    def test_evaluation_without_shifts(self):
        env = cart_pole(scale=0.5)
        model = A2C("MlpPolicy", env, seed=0, device="cpu")
        off = Monitor(cart_pole(training=False))
        returns, lengths = evaluate_policy(
            model, off, n_eval_episodes=3, return_episode_rewards=True
        )
        assert returns == lengths
