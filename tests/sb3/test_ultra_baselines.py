"""ULTRA's steps without a language model: critics, mask networks, policies, and their fidelity."""

from __future__ import annotations

import math
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from fork_doubles import FORK, STEPS, Fork, knowing_policy
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.save_util import save_to_zip_file
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from llm_wrappers.errors import (
    GuidanceFileError,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.guidance.critical.correcting import Corrector, resolve_corrector
from llm_wrappers.guidance.critical.finding import (
    CriticalMoment,
    RandomSelector,
    Selector,
    ValueGapSelector,
    resolve_selector,
)
from llm_wrappers.guidance.critical.table import CriticalStates
from llm_wrappers.sb3 import (
    GuidedDQN,
    PolicyCorrector,
    StateMask,
    critic_values,
    fidelity_scores,
    record_trajectories,
    seeded_trajectories,
    train_state_mask,
    value_gap_selector,
)
from llm_wrappers.sb3.baselines.state_mask import BLINDED, KEPT, BlindingEnv
from llm_wrappers.sb3.models import FrozenModel
from llm_wrappers.trajectories.trajectory import Trajectory
from llm_wrappers.wrappers import CriticalStateOverrideWrapper

short_cartpole = partial(gym.make, "CartPole-v1", max_episode_steps=12)
DISCRETE: list[Any] = [PPO, A2C, TRPO, MaskablePPO, DQN, QRDQN]
CONTINUOUS: list[Any] = [SAC, TD3, DDPG, TQC, CrossQ]
EPISODES = 40


@pytest.fixture(scope="module")
def ppo() -> PPO:
    return PPO("MlpPolicy", short_cartpole(), n_steps=16, batch_size=16, seed=0, device="cpu")


@pytest.fixture(scope="module")
def normalized() -> PPO:
    """Return a PPO that learnt behind statistics of observations and rewards."""
    envs = VecNormalize(make_vec_env("Pendulum-v1", n_envs=2, seed=0))
    model = PPO("MlpPolicy", envs, n_steps=64, batch_size=64, seed=0, device="cpu")
    return model.learn(256)


@pytest.fixture(scope="module")
def knowing() -> PPO:
    return knowing_policy()


@pytest.fixture(scope="module")
def episodes(knowing: PPO) -> Any:
    return seeded_trajectories(knowing, Fork(), seeds=range(EPISODES), captions=False)


# --- critics ---


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
def test_each_algorithm_tells_its_values_and_is_known_by_its_file(
    algorithm: Any, tmp_path: Path
) -> None:
    env_id = "Pendulum-v1" if algorithm in CONTINUOUS else "CartPole-v1"
    sizes = {"buffer_size": 10} if algorithm in [*CONTINUOUS, DQN, QRDQN] else {}
    model = algorithm("MlpPolicy", env_id, seed=3, device="cpu", **sizes)
    observations = np.random.default_rng(0).normal(size=(4, *model.observation_space.shape))
    observations = observations.astype(np.float32)
    found = critic_values(model)(observations)
    assert found.dtype == np.float64
    assert found == pytest.approx(one_by_one(model, observations), abs=1e-5)
    assert len(set(found)) > 1
    model.save(tmp_path / "better.zip")
    loaded = resolve_corrector(f"policy:{tmp_path}/better.zip")._frozen.model
    # DDPG is TD3 with one critic and no noise, and its file does not say which of the two it is.
    assert type(loaded) is (TD3 if algorithm is DDPG else algorithm)
    for observation in observations:
        mine, _ = model.predict(observation, deterministic=True)
        assert loaded.predict(observation, deterministic=True)[0] == pytest.approx(mine)


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


@pytest.mark.slow
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


# --- better policies ---


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
    assert actions(resolve_corrector(f"policy:{model}|{statistics}")) == pytest.approx(wanted)
    assert actions(resolve_corrector(f"policy:{model}")) != pytest.approx(wanted)
    Path(broken).write_bytes(b"no zip")
    for name, problem in {
        "nowhere.zip": "there is none at nowhere.zip",
        broken: "load it yourself and give the object",
        f"{model}|nowhere.pkl": "written by VecNormalize.save, got nowhere.pkl",
        f"{model}|{broken}": "written by VecNormalize.save",
    }.items():
        with pytest.raises(GuidanceFileError, match=problem):
            resolve_corrector(f"policy:{name}")


def test_files_of_something_else_are_refused(ppo: PPO, tmp_path: Path) -> None:
    ppo.save(tmp_path / "m.zip")
    (tmp_path / "n.pkl").write_bytes(pickle.dumps({"mean": 0}))
    save_to_zip_file(tmp_path / "empty.zip", data={})
    save_to_zip_file(tmp_path / "odd.zip", data={"policy_class": dict})
    for name, problem in {
        f"{tmp_path}/m.zip|{tmp_path}/n.pkl": "which holds a dict",
        f"{tmp_path}/empty.zip": "does not tell its policy class",
        f"{tmp_path}/odd.zip": r"no algorithm has the policy builtins\.dict",
    }.items():
        with pytest.raises(GuidanceFileError, match=problem):
            resolve_corrector(f"policy:{name}")
    # A policy of one's own is found by what it inherits from.
    model = GuidedDQN("MlpPolicy", DummyVecEnv([short_cartpole]), device="cpu", buffer_size=10)
    model.save(tmp_path / "guided.zip")
    corrector = resolve_corrector(f"policy:{tmp_path}/guided.zip")
    assert isinstance(corrector._frozen.model, DQN)


def test_models_without_what_is_needed_are_refused(ppo: PPO) -> None:
    memory = RecurrentPPO("MlpLstmPolicy", "CartPole-v1", device="cpu")
    train = partial(train_state_mask, env=gym.make("CartPole-v1"), steps=64)
    for ask in (critic_values, PolicyCorrector, value_gap_selector, train):
        with pytest.raises(IncompatibleEnvironmentError, match="a policy without memory"):
            ask(memory)
    with pytest.raises(IncompatibleEnvironmentError, match=r"with a critic.*got ARS"):
        critic_values(ARS("LinearPolicy", "CartPole-v1", device="cpu"))
    pendulum = record_trajectories(
        PPO("MlpPolicy", "Pendulum-v1", device="cpu"), gym.make("Pendulum-v1"), episodes=1
    )
    with pytest.raises(IncompatibleEnvironmentError, match="as the model was trained"):
        value_gap_selector(ppo).select(pendulum, per_episode=1)
    with pytest.raises(IncompatibleEnvironmentError, match="as the model was trained"):
        PolicyCorrector(ppo).correct(pendulum, [CriticalMoment(0, 0)])


# --- names, found as entry points of an installed package ---

ENTRY_POINTS = """
[llm_wrappers.selectors]
value-gap = llm_wrappers.sb3.baselines.value_gap:named_value_gap
state-mask = llm_wrappers.sb3.baselines.state_mask:named_state_mask

[llm_wrappers.correctors]
policy = llm_wrappers.sb3.policy_corrector:named_policy
"""


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the names as an installation does, also where this package was installed before."""
    info = tmp_path / "guides-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guides\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("registered")
def test_selectors_and_correctors_are_named(ppo: PPO, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    for line in ENTRY_POINTS.split("\n"):
        if "=" in line:
            name, _, value = line.partition(" = ")
            assert f'{name} = "{value}"' in text
    env = gym.make("CartPole-v1")
    gap = resolve_selector("value-gap", model=ppo, env=env)
    assert isinstance(gap, ValueGapSelector)
    assert gap.gamma == ppo.gamma
    mask = resolve_selector("state-mask:64", model=ppo, env=env, seed=2)
    assert isinstance(mask, StateMask)
    assert (mask.network.seed, mask.network.num_timesteps) == (2, 512)
    mask.save(tmp_path / "mask.zip")
    loaded = resolve_selector(f"state-mask:{tmp_path}/mask.zip", model=ppo)
    episode = Trajectory(np.ones((4, 4), np.float32), [0, 1, 0], np.ones(3), True, False)
    assert len(loaded.select([episode], per_episode=2)) == 2
    for resolve, name, options, error, problem in (
        (resolve_selector, "value-gap", {}, InvalidOptionError, "'value-gap' needs model="),
        (resolve_selector, "value-gap:3", {"model": ppo}, InvalidOptionError, "got 'value-gap:3'"),
        (resolve_selector, "state-mask", {"env": env}, InvalidOptionError, "needs model="),
        (resolve_selector, "state-mask:9", {"model": ppo}, InvalidOptionError, "needs env=.*to tr"),
        (resolve_selector, "state-mask:no/mask.zip", {"model": ppo}, GuidanceFileError, r"mask\.z"),
        (resolve_corrector, "policy", {}, InvalidOptionError, "expected 'policy:PATH"),
        (resolve_corrector, "policy:nowhere.zip", {}, GuidanceFileError, "there is none at now"),
    ):
        with pytest.raises(error, match=problem):
            resolve(name, **options)


def test_a_name_says_which_part_the_states_are(tmp_path: Path) -> None:
    env = Parts(gym.make("CartPole-v1"))
    PPO("MultiInputPolicy", env, device="cpu").save(tmp_path / "parts.zip")
    states = {"part": np.full((2, 4), 0.5, np.float32)}
    episode = Trajectory(states, np.array([0]), [1.0], True, False)
    for name in (f"policy:{tmp_path}/parts.zip", "random"):
        [found] = resolve_corrector(f"{name}?part=part", env=env).correct(
            [episode], [CriticalMoment(0, 0)]
        )
        assert found is not None
        assert found.state.tolist() == [0.5] * 4
        with pytest.raises(InvalidOptionError, match=r"one of the observation's \['part'\]"):
            resolve_corrector(name, env=env).correct([episode], [CriticalMoment(0, 0)])


class Parts(gym.ObservationWrapper[Any, Any, Any]):
    """An environment as a Dict observation."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = gym.spaces.Dict({"part": env.observation_space})

    def observation(self, observation: Any) -> Any:
        return {"part": observation}


# --- mask networks ---

QUICK: dict[str, Any] = {"n_steps": 256, "batch_size": 128, "n_epochs": 4, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def mask(ppo: PPO) -> StateMask:
    return train_state_mask(ppo, short_cartpole(), steps=512, ppo=QUICK)


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


def test_rewards_of_guidance_do_not_count_and_random_actions_follow_the_seed(
    knowing: PPO,
) -> None:
    env = blinding(knowing, Shaped(Fork()))
    env.reset(seed=0)
    assert [env.step(KEPT)[1] for _ in range(STEPS)] == [10.0 * (s == FORK) for s in range(STEPS)]

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


@pytest.mark.slow
def test_a_larger_bonus_blinds_more(knowing: PPO) -> None:
    history = record_trajectories(knowing, Fork(), episodes=1, seed=0, captions=False)
    means = [
        train_state_mask(knowing, Fork(), steps=768, alpha=alpha, ppo=QUICK)
        .importances(history)[0]
        .mean()
        for alpha in (0.0, 20.0)
    ]
    assert means[1] < means[0] - 0.2


def test_importances_are_probabilities_and_the_model_is_left_alone(
    ppo: PPO, mask: StateMask
) -> None:
    assert isinstance(mask, Selector)
    before = [weights.clone() for weights in ppo.policy.state_dict().values()]
    history = record_trajectories(ppo, short_cartpole(), episodes=4, seed=5)
    twins = [train_state_mask(ppo, short_cartpole(), steps=256, ppo=QUICK, seed=1) for _ in "12"]
    rows = mask.importances(history)
    assert [len(row) for row in rows] == [len(each) for each in history]
    every = np.concatenate(rows)
    assert ((every >= 0.0) & (every <= 1.0)).all()
    assert len(np.unique(every)) > 10
    assert all(map(th.equal, before, ppo.policy.state_dict().values()))
    assert ppo.num_timesteps == 0
    pairs = zip(*(twin.importances(history) for twin in twins), strict=True)
    assert all((one == two).all() for one, two in pairs)


def test_a_mask_is_saved_and_loaded(ppo: PPO, mask: StateMask, tmp_path: Path) -> None:
    history = record_trajectories(ppo, short_cartpole(), episodes=2, seed=5)
    path = tmp_path / "deep" / "mask.zip"
    mask.save(path)
    loaded = StateMask.load(path, ppo, min_gap=3)
    pairs = zip(mask.importances(history), loaded.importances(history), strict=True)
    assert all((one == two).all() for one, two in pairs)
    steps = [m.step for m in loaded.select(history[:1], per_episode=3)]
    assert (np.diff(steps) >= 3).all()
    PPO("MlpPolicy", "Pendulum-v1", device="cpu").save(tmp_path / "other.zip")
    memory = RecurrentPPO("MlpLstmPolicy", "CartPole-v1", n_steps=8, device="cpu")
    for name, model, options, error, problem in (
        ("none", ppo, {}, GuidanceFileError, r"written by StateMask\.save"),
        ("other", ppo, {}, GuidanceFileError, "two actions, keep and blind"),
        # Faults that are not of the file are not blamed on it.
        ("deep/mask", ppo, {"min_gap": 0}, InvalidOptionError, "min_gap must be a whole number"),
        ("deep/mask", memory, {}, IncompatibleEnvironmentError, "a policy without memory"),
    ):
        with pytest.raises(error, match=problem):
            StateMask.load(tmp_path / f"{name}.zip", model, **options)


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


def test_other_observations_and_a_callback_that_stops(knowing: PPO, mask: StateMask) -> None:
    lake = gym.make("FrozenLake-v1")
    small: dict[str, Any] = {"steps": 64, "ppo": {"n_steps": 64}}
    for env, model in (
        (lake, PPO("MlpPolicy", lake, n_steps=64, seed=0, device="cpu")),
        (Parts(Fork()), DQN("MultiInputPolicy", Parts(Fork()), device="cpu", buffer_size=10)),
    ):
        found = train_state_mask(model, env, **small)
        history = record_trajectories(model, env, episodes=2, seed=0, captions=False)
        assert [len(row) for row in found.importances(history)] == [len(each) for each in history]
    other = DQN("MlpPolicy", "MountainCar-v0", device="cpu", buffer_size=10)
    history = record_trajectories(other, gym.make("MountainCar-v0"), episodes=1, captions=False)
    with pytest.raises(IncompatibleEnvironmentError, match="as the model was trained"):
        mask.importances(history)
    stop = StopTrainingOnMaxEpisodes(3)
    stopped = train_state_mask(knowing, Fork(), steps=5000, callback=stop, ppo=QUICK)
    assert stopped.network.num_timesteps < 256


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
    ],
)  # fmt: skip
def test_wrong_options_of_a_mask_are_refused(
    call: Any, error: Any, problem: str, knowing: PPO
) -> None:
    with pytest.raises(error, match=problem):
        call(knowing)


# --- fidelity ---


class Picks:
    """Picks the same step of each episode, as a language model that sees something there."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.asked: list[int] = []

    def select(self, trajectories: Any, *, per_episode: int) -> Any:
        self.asked.append(per_episode)
        return [CriticalMoment(number, self.step) for number in range(len(trajectories))]


class Weights:
    """Tells an importance for each step itself."""

    def __init__(self, row: Any) -> None:
        self.row = np.asarray(row, dtype=float)

    def select(self, trajectories: Any, *, per_episode: int) -> Any:
        raise AssertionError("was asked for moments")

    def importances(self, trajectories: Any) -> Any:
        return [self.row for _ in trajectories]


def test_a_selector_that_names_the_decisive_step_scores_higher(knowing: PPO, episodes: Any) -> None:
    assert [each.rewards.sum() for each in episodes] == [10.0] * EPISODES
    [right] = fidelity_scores(Picks(FORK), knowing, Fork(), episodes, shares=[0.1])
    [wrong] = fidelity_scores(Picks(7), knowing, Fork(), episodes, shares=[0.1])
    # A random action is wrong every other time: half of the return is lost.
    assert right.change == pytest.approx(5.0, abs=2.0)
    assert right.d_max == wrong.d_max == 10.0
    assert right.score == pytest.approx(math.log(right.change / 10.0) - math.log(0.1))
    assert wrong.change == 0.0
    assert wrong.score == pytest.approx(math.log(0.001 / 10.0) - math.log(0.1))
    assert right.score > wrong.score


def test_the_score_of_a_larger_window_is_lower(knowing: PPO, episodes: Any) -> None:
    scores = fidelity_scores(Picks(FORK), knowing, Fork(), episodes)
    assert [found.share for found in scores] == [0.1, 0.2, 0.3, 0.4]
    assert [found.length for found in scores] == [0.1, 0.2, 0.3, 0.4]
    # The fork is in each of these windows, so that longer ones find nothing more.
    numbers = [found.score for found in scores]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] - numbers[3] == pytest.approx(math.log(4.0), abs=0.6)


def test_moments_are_asked_for_once_and_episodes_in_which_nothing_stands_out_are_counted(
    knowing: PPO, episodes: Any
) -> None:
    """Their first window is spoiled, which must not pass for a finding of the selector."""

    class Silent(Picks):
        def select(self, trajectories: Any, *, per_episode: int) -> Any:
            return super().select(trajectories[:3], per_episode=per_episode)

    picks = Silent(FORK)
    options: dict[str, Any] = {"shares": [0.1, 0.2], "d_max": 10.0, "per_episode": 3}
    found, _ = fidelity_scores(picks, knowing, Fork(), episodes[:5], **options)
    assert (found.unranked, picks.asked) == (2, [3])
    found, _ = fidelity_scores(Picks(FORK), knowing, Fork(), episodes[:5], **options)
    assert found.unranked == 0


@pytest.mark.parametrize(
    ("row", "share", "window"),
    [
        ([0, 0, 0, 0, 0, 0, 0, 0, 3, 0], 0.1, [8]),
        ([0, 5, 0, 0, 0, 0, 0, 4, 4, 0], 0.2, [7, 8]),
        ([0.1] * 10, 0.3, [0, 1, 2]),
        ([-1, -2, -3, -1, -1, -9, -9, -9, -9, -9], 0.2, [3, 4]),
        ([0] * 10, 1.0, list(range(10))),
    ],
)
def test_the_first_window_of_the_highest_mean_importance_is_spoiled(
    row: Any, share: float, window: list[int], knowing: PPO, episodes: Any
) -> None:
    env = Fork()
    usual = [0] * STEPS
    usual[FORK] = 1
    spoiled: set[int] = set()
    for seed in range(12):
        fidelity_scores(
            Weights(row), knowing, env, episodes[:1], shares=[share], d_max=10.0, seed=seed
        )
        assert len(env.executed) == STEPS
        pairs = enumerate(zip(env.executed, usual, strict=True))
        spoiled |= {step for step, (done, plain) in pairs if done != plain}
    assert sorted(spoiled) == window


def test_a_given_d_max_saves_replays_and_moves_the_score(knowing: PPO, episodes: Any) -> None:
    env = Fork()
    [measured] = fidelity_scores(Picks(FORK), knowing, env, episodes, shares=[0.1])
    assert env.resets == 2 * EPISODES
    [given] = fidelity_scores(Picks(FORK), knowing, env, episodes, shares=[0.1], d_max=20.0)
    assert env.resets == 3 * EPISODES
    assert given.change == measured.change
    assert measured.score - given.score == pytest.approx(math.log(2.0))
    [more] = fidelity_scores(
        Picks(FORK), knowing, env, episodes, shares=[0.1], d_max=20.0, repeats=3
    )
    assert (given.replays, more.replays) == (EPISODES, 3 * EPISODES)
    assert more.change != given.change


def test_the_seed_repeats_a_measurement_and_a_name_stands_for_a_selector(
    knowing: PPO, episodes: Any
) -> None:
    env = Fork()
    env.action_space.seed(3)
    found = [
        fidelity_scores("random", knowing, env, episodes, shares=[0.3], seed=seed)
        for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]
    made = fidelity_scores(RandomSelector(seed=1), knowing, env, episodes, shares=[0.3], seed=1)
    assert made == found[0]
    assert env.action_space.sample() == gym.spaces.Discrete(2, seed=3).sample()


@pytest.mark.parametrize(
    ("fault", "picked", "place"),
    [("noise", FORK, "step 0"), ("drift", FORK, "the reset"), ("drift", 0, "the reset")],
)
def test_an_environment_that_does_not_repeat_itself_is_refused(
    fault: str, picked: int, place: str, knowing: PPO, episodes: Any
) -> None:
    env = Fork(**{fault: True})
    problem = f"at {place} of the episode with seed 0"
    with pytest.raises(IncompatibleEnvironmentError, match=problem):
        fidelity_scores(Picks(picked), knowing, env, episodes, shares=[0.1], d_max=10.0)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"shares": []}, r"shares must be numbers in \(0, 1\]"),
        ({"shares": [0.0]}, "shares must be"),
        ({"shares": [1.5]}, "shares must be"),
        ({"repeats": 0}, "repeats must be a whole number >= 1"),
        ({"per_episode": 0}, "per_episode must be a whole number >= 1"),
        ({"seed": -1}, "seed must be"),
        ({"d_max": 0.0}, "d_max must be a finite number > 0"),
        ({"d_max": math.inf}, "d_max must be"),
    ],
    ids=str,
)
def test_wrong_options_of_a_measurement_are_refused(
    options: Any, problem: str, knowing: PPO, episodes: Any
) -> None:
    with pytest.raises(InvalidOptionError, match=problem):
        fidelity_scores(Picks(FORK), knowing, Fork(), episodes, **options)


def test_what_cannot_be_replayed_or_measured_is_refused(knowing: PPO, episodes: Any) -> None:
    loose = record_trajectories(knowing, Fork(), episodes=2, seed=0, captions=False)
    several: Any = make_vec_env(Fork)
    with pytest.raises(InvalidOptionError, match="give a single one"):
        seeded_trajectories(knowing, several, seeds=[0])
    for selector, env, given, error, problem in (
        (Picks(FORK), Fork(), loose, InvalidOptionError, "episode 1 has none; record them with se"),
        (Picks(FORK), Fork(), [], InvalidOptionError, "at least one episode"),
        (Picks(FORK), several, episodes, InvalidOptionError, "give a single one"),
        (3, Fork(), episodes, InvalidOptionError, "expected a selector: an object with"),
        (
            Picks(FORK),
            gym.make("Pendulum-v1"),
            episodes,
            IncompatibleEnvironmentError,
            r"with the actions of the model.*Box",
        ),
    ):
        with pytest.raises(error, match=problem):
            fidelity_scores(selector, knowing, env, given)


@pytest.mark.slow
def test_on_cartpole_the_steps_before_the_pole_is_lost_matter_little_when_it_is_lost_anyway() -> (
    None
):
    """A trained policy is spoiled by random actions early, not by those of its last step."""
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=256, batch_size=128, seed=0, device="cpu")
    model.learn(2048)
    env = gym.make("CartPole-v1")
    episodes = seeded_trajectories(model, env, seeds=range(5))
    assert [each.seed for each in episodes] == list(range(5))

    class Ends:
        def __init__(self, last: bool) -> None:
            self.last = last

        def select(self, trajectories: Any, *, per_episode: int) -> Any:
            return [
                CriticalMoment(number, len(each) - 1 if self.last else 0)
                for number, each in enumerate(trajectories)
            ]

    late, early = (
        fidelity_scores(Ends(last), model, env, episodes, shares=[0.2])[0] for last in (True, False)
    )
    assert early.d_max == late.d_max > 0.0
    assert early.score > late.score
    [random] = fidelity_scores(RandomSelector(), model, env, episodes, shares=[0.2])
    assert math.isfinite(random.score)


def test_a_lake_repeats_its_slips_by_the_seed_and_another_lake_is_refused() -> None:
    env = gym.make("FrozenLake-v1", is_slippery=True)
    model = PPO("MlpPolicy", env, n_steps=64, seed=0, device="cpu")
    episodes = seeded_trajectories(model, env, seeds=range(4), captions=False)
    assert episodes[0].observations.dtype.kind == "i"
    scores = fidelity_scores(RandomSelector(), model, env, episodes, shares=[0.5], d_max=1.0)
    assert scores[0].replays == 4

    class Late:
        """Picks the last step of each episode."""

        def select(self, trajectories: Any, *, per_episode: int) -> Any:
            return [CriticalMoment(row, len(each) - 1) for row, each in enumerate(trajectories)]

    other = gym.make("FrozenLake-v1", is_slippery=False)
    with pytest.raises(IncompatibleEnvironmentError, match="made with the same options"):
        fidelity_scores(Late(), model, other, episodes, shares=[0.1])
