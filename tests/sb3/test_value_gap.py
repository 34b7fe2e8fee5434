"""Values of real critics, and what a policy corrects, with and without normalisation."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from sb3_contrib import QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from llm_wrappers.errors import (
    GuidanceFileError,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.guidance.critical.correcting import Corrector
from llm_wrappers.guidance.critical.finding import CriticalMoment, ValueGapSelector
from llm_wrappers.guidance.critical.table import CriticalStates
from llm_wrappers.sb3 import record_trajectories
from llm_wrappers.sb3.baselines.value_gap import critic_values, named_value_gap, value_gap_selector
from llm_wrappers.sb3.policy_corrector import PolicyCorrector, named_policy
from llm_wrappers.wrappers import CriticalStateOverrideWrapper

short_cartpole = partial(gym.make, "CartPole-v1", max_episode_steps=12)
DISCRETE: list[Any] = [PPO, A2C, TRPO, MaskablePPO, DQN, QRDQN]
CONTINUOUS: list[Any] = [SAC, TD3, DDPG, TQC, CrossQ]


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(threads)


@pytest.fixture(scope="module")
def ppo() -> PPO:
    return PPO("MlpPolicy", short_cartpole(), n_steps=16, batch_size=16, seed=0, device="cpu")


@pytest.fixture(scope="module")
def normalized() -> PPO:
    """Return a PPO that learnt behind statistics of observations and rewards."""
    envs = VecNormalize(make_vec_env("Pendulum-v1", n_envs=2, seed=0))
    model = PPO("MlpPolicy", envs, n_steps=64, batch_size=64, seed=0, device="cpu")
    return model.learn(256)


def one_by_one(model: Any, observations: Any) -> list[float]:
    """Return values computed as Stable-Baselines3 documents each algorithm, one at a time."""
    found = []
    for observation in observations:
        seen, _ = model.policy.obs_to_tensor(observation)
        with th.no_grad():
            if hasattr(model, "rollout_buffer"):
                value = model.policy.predict_values(seen)
            elif isinstance(model, DQN):
                value = model.q_net(seen).max()
            elif isinstance(model, QRDQN):
                value = model.quantile_net(seen).mean(dim=1).max()
            else:
                action, _ = model.predict(observation, deterministic=True)
                scaled = th.as_tensor(model.policy.scale_action(action))[None]
                critics = model.critic(seen, scaled)
                if isinstance(model, TQC):
                    critics = critics.mean(dim=2)[0]
                value = min(critics)
        found.append(float(value))
    return found


@pytest.mark.parametrize("algorithm", DISCRETE + CONTINUOUS, ids=lambda found: found.__name__)
def test_each_algorithm_tells_the_values_of_its_critic(algorithm: Any) -> None:
    env_id = "Pendulum-v1" if algorithm in CONTINUOUS else "CartPole-v1"
    sizes = {"buffer_size": 10} if algorithm in [*CONTINUOUS, DQN, QRDQN] else {}
    model = algorithm("MlpPolicy", env_id, seed=0, device="cpu", **sizes)
    observations = np.random.default_rng(0).normal(size=(4, *model.observation_space.shape))
    observations = observations.astype(np.float32)
    found = critic_values(model)(observations)
    assert found.dtype == np.float64
    assert found == pytest.approx(one_by_one(model, observations), abs=1e-5)
    assert len(set(found)) > 1


def test_many_observations_and_none_have_values(ppo: PPO) -> None:
    values = critic_values(ppo)
    many = np.random.default_rng(0).normal(size=(2500, 4)).astype(np.float32)
    assert values(many) == pytest.approx(np.concatenate([values(many[:7]), values(many[7:])]))
    assert values(many[:0]).shape == (0,)


def test_values_and_rewards_are_normalised_as_in_training(normalized: PPO) -> None:
    history = record_trajectories(normalized, gym.make("Pendulum-v1"), episodes=1, seed=3)
    normalizer = normalized.get_vec_normalize_env()
    assert normalizer is not None
    [trajectory] = history
    seen, _ = normalized.policy.obs_to_tensor(normalizer.normalize_obs(trajectory.observations))
    with th.no_grad():
        expected = normalized.policy.predict_values(seen).numpy()[:, 0]
    selector = value_gap_selector(normalized, gamma=0.5)
    assert selector.values(trajectory.observations) == pytest.approx(expected, abs=1e-6)
    paid = normalizer.normalize_reward(trajectory.rewards)
    assert np.abs(paid).max() < normalizer.clip_reward
    [gaps] = selector.importances(history)
    assert gaps == pytest.approx(expected[:-1] - paid - 0.5 * expected[1:], abs=1e-4)
    # The statistics make a difference, and asking does not change them.
    bare = PPO("MlpPolicy", gym.make("Pendulum-v1"), seed=0, device="cpu")
    bare.policy.load_state_dict(normalized.policy.state_dict())
    assert critic_values(bare)(trajectory.observations) != pytest.approx(expected, abs=1e-3)
    given = critic_values(bare, normalizer=normalizer)
    assert given(trajectory.observations) == pytest.approx(expected, abs=1e-6)


def test_a_trained_critic_finds_where_the_pole_was_lost() -> None:
    """A critic that learnt the task is surprised near the end, and not in the middle."""
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=256, seed=0, device="cpu", gamma=0.95)
    model.learn(2048)
    history = record_trajectories(model, gym.make("CartPole-v1"), episodes=5, seed=1)
    selector = value_gap_selector(model)
    assert selector.gamma == 0.95
    for trajectory, gaps in zip(history, selector.importances(history), strict=True):
        assert gaps.argmax() == len(trajectory) - 1
    moments = selector.select(history, per_episode=1)
    assert [m.step for m in moments] == [len(trajectory) - 1 for trajectory in history]


def test_dict_observations_and_their_order_are_read() -> None:
    class Parts(gym.ObservationWrapper):
        observation_space = gym.spaces.Dict(
            {"z": gym.spaces.Box(-9, 9, (2,)), "a": gym.spaces.Discrete(3)}
        )

        def observation(self, observation: Any) -> Any:
            return {"z": observation[:2], "a": int(observation[2] > 0)}

    model = PPO(
        "MultiInputPolicy", Parts(short_cartpole()), n_steps=16, batch_size=16, device="cpu"
    )
    history = record_trajectories(
        model, Parts(short_cartpole()), episodes=2, seed=0, captions=False
    )
    [gaps, _] = value_gap_selector(model).importances(history)
    assert len(set(gaps.tolist())) == len(history[0])
    found = PolicyCorrector(model, part="z").correct(history, [CriticalMoment(1, 3)])[0]
    assert found is not None
    observations = history[1].observations
    assert found.state.tolist() == observations["z"][3].tolist()
    advised, _ = model.predict(
        {key: rows[3] for key, rows in observations.items()}, deterministic=True
    )
    assert found.action == advised


@pytest.mark.parametrize(
    ("build", "error", "problem"),
    [
        (lambda: critic_values(3), InvalidOptionError, "got a int; give model"),  # type: ignore[arg-type]
        (lambda: named_value_gap("", model=None), InvalidOptionError, "needs model="),
        (lambda: named_value_gap("3", model=1), InvalidOptionError, "got 'value-gap:3'"),
        (lambda: named_policy(""), InvalidOptionError, "expected 'policy:PATH.zip'"),
    ],
)
def test_wrong_options_are_refused(build: Any, error: Any, problem: str) -> None:
    with pytest.raises(error, match=problem):
        build()


def test_models_without_what_is_needed_are_refused(ppo: PPO) -> None:
    memory = RecurrentPPO("MlpLstmPolicy", "CartPole-v1", device="cpu")
    for ask in (critic_values, PolicyCorrector, value_gap_selector):
        with pytest.raises(IncompatibleEnvironmentError, match="a policy without memory"):
            ask(memory)
    from sb3_contrib import ARS

    with pytest.raises(IncompatibleEnvironmentError, match=r"with a critic.*got ARS"):
        critic_values(ARS("LinearPolicy", "CartPole-v1", device="cpu"))
    pendulum = record_trajectories(
        PPO("MlpPolicy", "Pendulum-v1", device="cpu"), gym.make("Pendulum-v1"), episodes=1
    )
    with pytest.raises(IncompatibleEnvironmentError, match="as the model was trained"):
        value_gap_selector(ppo).select(pendulum, per_episode=1)
    with pytest.raises(IncompatibleEnvironmentError, match="as the model was trained"):
        PolicyCorrector(ppo).correct(pendulum, [CriticalMoment(0, 0)])


def test_the_name_gives_the_selector_of_the_model(ppo: PPO) -> None:
    selector = named_value_gap("", model=ppo, env=None, seed=0)
    assert isinstance(selector, ValueGapSelector)
    assert selector.gamma == ppo.gamma


def test_a_better_policy_corrects_a_worse_one(normalized: PPO) -> None:
    worse = SAC("MlpPolicy", "Pendulum-v1", seed=1, device="cpu", buffer_size=10)
    history = record_trajectories(worse, gym.make("Pendulum-v1"), episodes=1, seed=2)
    moments = [CriticalMoment(0, step, rationale="here") for step in range(0, 200, 20)]
    corrector = PolicyCorrector(normalized, tolerance=0.25)
    assert isinstance(corrector, Corrector)
    found = corrector.correct(history, moments)
    normalizer = normalized.get_vec_normalize_env()
    assert normalizer is not None
    for each, moment in zip(found, moments, strict=True):
        assert each is not None
        seen = normalizer.normalize_obs(history[0].observations[moment.step])
        advised, _ = normalized.predict(seen, deterministic=True)
        assert each.action == pytest.approx(advised)
        near = abs(float(advised[0]) - float(history[0].actions[moment.step][0])) <= 1.0
        assert each.reward == (1.0 if near else -1.0)
        assert (each.episode, each.step, each.rationale) == (0, moment.step, "here")
    assert {each.reward for each in found if each is not None} == {1.0, -1.0}
    table = CriticalStates([each for each in found if each is not None])
    CriticalStateOverrideWrapper(gym.make("Pendulum-v1"), critical_states=table).reset(seed=0)


@pytest.mark.parametrize(
    "algorithm", [PPO, A2C, TRPO, MaskablePPO, DQN, QRDQN, SAC, TD3, DDPG, TQC, CrossQ],
    ids=lambda found: found.__name__,
)  # fmt: skip
def test_a_file_says_of_which_algorithm_it_is(algorithm: Any, tmp_path: Path) -> None:
    env_id = "Pendulum-v1" if algorithm in CONTINUOUS else "CartPole-v1"
    sizes = {"buffer_size": 10} if algorithm in [*CONTINUOUS, DQN, QRDQN] else {}
    model = algorithm("MlpPolicy", env_id, seed=3, device="cpu", **sizes)
    model.save(tmp_path / "better.zip")
    corrector = named_policy(str(tmp_path / "better.zip"), description=None, seed=0)
    loaded = corrector._frozen.model
    # DDPG is TD3 with one critic and no noise, and its file does not say which of the two it is.
    assert type(loaded) is (TD3 if algorithm is DDPG else algorithm)
    observations = np.random.default_rng(0).normal(size=(5, *model.observation_space.shape))
    for observation in observations.astype(np.float32):
        mine, _ = model.predict(observation, deterministic=True)
        assert loaded.predict(observation, deterministic=True)[0] == pytest.approx(mine)


def test_a_saved_policy_takes_its_statistics_from_a_file(normalized: PPO, tmp_path: Path) -> None:
    model, statistics, broken = (str(tmp_path / name) for name in ("m.zip", "n.pkl", "b.zip"))
    normalized.save(model)
    normalizer = normalized.get_vec_normalize_env()
    assert normalizer is not None
    normalizer.save(statistics)
    history = record_trajectories(normalized, gym.make("Pendulum-v1"), episodes=1, seed=2)
    places = [CriticalMoment(0, step) for step in range(0, 200, 10)]

    def actions(corrector: PolicyCorrector) -> list[float]:
        return [float(each.action[0]) for each in corrector.correct(history, places) if each]

    wanted = actions(PolicyCorrector(normalized))
    assert actions(named_policy(f"{model}|{statistics}")) == pytest.approx(wanted)
    assert actions(named_policy(model)) != pytest.approx(wanted)
    Path(broken).write_bytes(b"no zip")
    for name, problem in {
        "nowhere.zip": "there is none at nowhere.zip",
        broken: "load it yourself and give the object",
        f"{model}|nowhere.pkl": "written by VecNormalize.save, got nowhere.pkl",
        f"{model}|{broken}": "written by VecNormalize.save",
    }.items():
        with pytest.raises(GuidanceFileError, match=problem):
            named_policy(name)


def test_statistics_of_something_else_are_refused(ppo: PPO, tmp_path: Path) -> None:
    import pickle

    ppo.save(tmp_path / "m.zip")
    (tmp_path / "n.pkl").write_bytes(pickle.dumps({"mean": 0}))
    with pytest.raises(GuidanceFileError, match="which holds a dict"):
        named_policy(f"{tmp_path}/m.zip|{tmp_path}/n.pkl")


def test_a_policy_of_ones_own_is_found_by_what_it_inherits_from(tmp_path: Path) -> None:
    from llm_wrappers.sb3 import GuidedDQN

    model = GuidedDQN("MlpPolicy", DummyVecEnv([short_cartpole]), device="cpu", buffer_size=10)
    model.save(tmp_path / "guided.zip")
    assert isinstance(named_policy(f"{tmp_path}/guided.zip")._frozen.model, DQN)


def test_files_of_no_known_algorithm_are_refused(tmp_path: Path) -> None:
    from stable_baselines3.common.save_util import save_to_zip_file

    for data, problem in (
        ({}, "does not tell its policy class"),
        ({"policy_class": dict}, r"no algorithm has the policy builtins\.dict"),
    ):
        save_to_zip_file(tmp_path / "odd.zip", data=data)
        with pytest.raises(GuidanceFileError, match=problem):
            named_policy(f"{tmp_path}/odd.zip")
