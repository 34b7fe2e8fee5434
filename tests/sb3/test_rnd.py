"""Random network distillation: what is new pays, what is known does not, and runs can go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from llm_wrappers.errors import (
    GuidanceFileError,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.methods import ellm
from llm_wrappers.sb3 import RandomNetworkDistillation, as_vec_env

ROOMS = 12
QUICK: dict[str, Any] = {
    "warmup": 0, "update_every": 4, "train_share": 1.0, "learning_rate": 3e-3, "features": 16,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(threads)


class Rooms(gym.Env[Any, Any]):
    """Each action leads to a room of its own, and pays 2; an episode has five steps."""

    def __init__(self, kind: str = "box") -> None:
        self.kind = kind
        box = gym.spaces.Box(0, 1, (ROOMS,), np.float32)
        picture = gym.spaces.Box(0, 255, (40, 44, 3), np.uint8)
        self.observation_space = {
            "box": box,
            "dict": gym.spaces.Dict({"obs": box, "noise": gym.spaces.Box(0, 1, (1,), np.float32)}),
            "picture": picture,
            "discrete": gym.spaces.Discrete(ROOMS),
        }[kind]
        self.action_space = gym.spaces.Discrete(ROOMS)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.seen(0), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self.seen(int(action)), 2.0, False, self.steps >= 5, {"room": int(action)}

    def seen(self, room: int) -> Any:
        if self.kind == "discrete":
            return room
        if self.kind == "picture":
            picture = np.zeros((40, 44, 3), np.uint8)
            picture[3 * room : 3 * room + 3] = 255
            return picture
        shown = np.eye(ROOMS, dtype=np.float32)[room]
        if self.kind == "dict":
            return {"obs": shown, "noise": self.np_random.random(1).astype(np.float32)}
        return shown


def rooms(n: int = 4, kind: str = "box") -> VecEnv:
    return DummyVecEnv([lambda: Rooms(kind)] * n)


def play(envs: VecEnv, actions: Any, steps: int) -> list[float]:
    """Return the mean reward of each step with the same actions."""
    return [float(envs.step(np.asarray(actions))[1].mean()) for _ in range(steps)]


@pytest.mark.parametrize("kind", ["box", "dict", "picture"])
def test_what_was_never_seen_pays_more_than_what_is_known(kind: str) -> None:
    key = "obs" if kind == "dict" else None
    envs = RandomNetworkDistillation(rooms(kind=kind), key=key, **QUICK)
    envs.seed(0)
    envs.reset()
    play(envs, [0, 1, 2, 3], 160)
    envs.training = False
    # Known rooms and unknown ones side by side in one step.
    *_, infos = envs.step(np.array([0, 1, 7, 9]))
    known, new = [infos[i]["rnd_reward"] for i in (0, 1)], [infos[i]["rnd_reward"] for i in (2, 3)]
    assert min(new) > 3 * max(known) >= 0
    assert envs.stats()["updates"] == 40
    assert envs.stats()["trained"] == 640


def test_what_becomes_known_pays_less_and_less() -> None:
    envs = RandomNetworkDistillation(rooms(), **QUICK)
    envs.reset()
    play(envs, [0, 1, 2, 3], 40)
    first = play(envs, [4, 5, 6, 7], 4)
    play(envs, [4, 5, 6, 7], 120)
    assert np.mean(play(envs, [4, 5, 6, 7], 4)) < 0.5 * np.mean(first)


def test_the_last_observation_of_an_episode_is_judged() -> None:
    envs = RandomNetworkDistillation(rooms(n=2), **QUICK)
    envs.reset()
    play(envs, [0, 0], 154)
    envs.training = False
    # The fifth step ends the episode: what is shown is room 0, what was reached is room 9.
    _, _, dones, infos = envs.step(np.array([9, 0]))
    assert dones.all()
    assert infos[0]["rnd_reward"] > 3 * infos[1]["rnd_reward"]


def test_the_reward_of_the_environment_is_kept_in_the_info() -> None:
    envs = RandomNetworkDistillation(rooms(), **QUICK)
    envs.reset()
    _, rewards, _, infos = envs.step(np.arange(4))
    assert [info["extrinsic_reward"] for info in infos] == [2.0] * 4
    assert [info["room"] for info in infos] == [0, 1, 2, 3]
    assert rewards.dtype == np.float32
    assert rewards == pytest.approx([info["rnd_reward"] for info in infos])


def test_a_layer_below_says_what_the_extrinsic_reward_is() -> None:
    envs = RandomNetworkDistillation(DummyVecEnv([lambda: Told(Rooms())]), **QUICK)
    envs.reset()
    assert envs.step(np.array([1]))[3][0]["extrinsic_reward"] == 7.0


class Told(gym.Wrapper[Any, Any, Any, Any]):
    """Says that the reward of the environment was 7, as a reward wrapper below would."""

    def step(self, action: Any) -> Any:
        *rest, info = self.env.step(action)
        return (*rest, {**info, "extrinsic_reward": 7.0})


@given(intrinsic=st.floats(0, 10, allow_nan=False), extrinsic=st.floats(0, 10, allow_nan=False))
@settings(max_examples=15, deadline=None)
def test_weights_mix_both_rewards(intrinsic: float, extrinsic: float) -> None:
    weights = {"intrinsic_weight": intrinsic, "extrinsic_weight": extrinsic}
    envs = RandomNetworkDistillation(rooms(n=2), **QUICK, **weights)
    envs.reset()
    for _ in range(3):
        _, rewards, _, infos = envs.step(np.array([0, 5]))
        wanted = [intrinsic * info["rnd_reward"] + extrinsic * 2.0 for info in infos]
        assert rewards == pytest.approx(wanted, rel=1e-5)


def test_infinite_rewards_do_not_matter_where_training_is_reward_free() -> None:
    class Infinite(Rooms):
        def step(self, action: Any) -> Any:
            observation, _, *rest = super().step(action)
            return (observation, float("inf"), *rest)

    envs = RandomNetworkDistillation(DummyVecEnv([Infinite]), **QUICK)
    envs.reset()
    assert np.isfinite(envs.step(np.array([3]))[1]).all()


def test_nothing_is_paid_while_statistics_are_taken() -> None:
    envs = RandomNetworkDistillation(rooms(), **{**QUICK, "warmup": 8})
    envs.reset()
    assert play(envs, [0, 1, 2, 3], 2) == [0.0, 0.0]
    assert play(envs, [0, 1, 2, 3], 1)[0] > 0


def test_rewards_are_about_one_whatever_the_scale_of_the_errors() -> None:
    paid = []
    for features in (4, 256):
        envs = RandomNetworkDistillation(rooms(), **{**QUICK, "features": features}, seed=3)
        envs.reset()
        generator = np.random.default_rng(0)
        for _ in range(60):
            paid.append(envs.step(generator.integers(0, ROOMS, 4))[1].mean())
    assert 0.01 < np.mean(paid) < 10


def test_not_training_leaves_everything_as_it_is() -> None:
    envs = RandomNetworkDistillation(rooms(), **QUICK)
    envs.reset()
    play(envs, [0, 1, 2, 3], 10)
    envs.training = False
    before = envs.state_dict()
    rewards = play(envs, [4, 5, 6, 7], 10)
    assert len(set(rewards)) == 1
    assert_equal(before, envs.state_dict())


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_equal(left, right)
    elif isinstance(one, th.Tensor):
        assert th.equal(one, other)
    else:
        assert one == other


def test_a_saved_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    options = {**QUICK, "train_share": 0.5, "update_every": 3}
    generator = np.random.default_rng(1)
    actions = generator.integers(0, ROOMS, (40, 4))
    envs = RandomNetworkDistillation(rooms(), **options)
    envs.reset()
    for row in actions[:20]:
        envs.step(row)
    envs.save(tmp_path / "deep" / "rnd.pt")  # between two trainings: 20 is no multiple of 3
    expected = [envs.step(row)[1] for row in actions[20:]]
    again = RandomNetworkDistillation(rooms(), **options, seed=99)
    again.reset()
    again.load(tmp_path / "deep" / "rnd.pt")
    got = [again.step(row)[1] for row in actions[20:]]
    assert np.array_equal(expected, got)
    assert_equal(envs.state_dict(), again.state_dict())


def test_a_seed_decides_everything_and_disturbs_nobody() -> None:
    def rewards(seed: int) -> Any:
        envs = RandomNetworkDistillation(rooms(), **{**QUICK, "train_share": 0.5}, seed=seed)
        envs.reset()
        return [play(envs, [0, 1, 2, 3], 20)]

    th.manual_seed(5)
    one = rewards(0)
    drawn = th.rand(3)
    assert rewards(0) == one
    assert rewards(1) != one
    th.manual_seed(5)
    assert th.equal(th.rand(3), drawn)  # the stream of the algorithm was not touched


def test_files_and_states_of_something_else_are_refused(tmp_path: Path) -> None:
    envs = RandomNetworkDistillation(rooms(), **QUICK)
    with pytest.raises(GuidanceFileError, match="expected a file written by"):
        envs.load(tmp_path / "missing.pt")
    (tmp_path / "text.pt").write_text("no state")
    with pytest.raises(GuidanceFileError, match=r"text\.pt"):
        envs.load(tmp_path / "text.pt")
    with pytest.raises(InvalidOptionError, match="of 4 environments"):
        envs.load_state_dict(RandomNetworkDistillation(rooms(n=2), **QUICK).state_dict())
    with pytest.raises(InvalidOptionError, match="other networks"):
        envs.load_state_dict(
            RandomNetworkDistillation(rooms(), **{**QUICK, "hidden": 8}).state_dict()
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"intrinsic_weight": -1.0}, "intrinsic_weight must be a finite number >= 0, got -1.0"),
        ({"extrinsic_weight": float("nan")}, "extrinsic_weight must be"),
        ({"features": 0}, "features must be a whole number >= 1, got 0"),
        ({"hidden": 1.5}, "hidden must be"),
        ({"epochs": 0}, "epochs must be"),
        ({"update_every": True}, "update_every must be"),
        ({"warmup": -1}, "warmup must be a whole number >= 0"),
        ({"seed": None}, "seed must be"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number > 0"),
        ({"train_share": 1.1}, "train_share must be a finite number > 0, at most 1"),
        ({"gamma": 1.0}, "gamma must be below 1"),
        ({"key": "obs"}, "expected key=None"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        RandomNetworkDistillation(rooms(), **options)


def test_spaces_are_checked() -> None:
    with pytest.raises(InvalidOptionError, match=r"one of \['noise', 'obs'\].*got None"):
        RandomNetworkDistillation(rooms(kind="dict"))
    with pytest.raises(IncompatibleEnvironmentError, match="expected a Box to predict"):
        RandomNetworkDistillation(rooms(kind="discrete"))


def test_ppo_trains_with_it_and_finds_the_wrapped_environment() -> None:
    envs = RandomNetworkDistillation(make_vec_env("CartPole-v1", n_envs=2), **QUICK)
    model = PPO("MlpPolicy", envs, n_steps=64, batch_size=64, seed=0, device="cpu")
    model.learn(256)
    assert envs.stats()["steps"] == 128
    assert envs.env_is_wrapped(RandomNetworkDistillation) == [False, False]  # not a gym wrapper
    assert envs.get_attr("spec")[0].id == "CartPole-v1"


def test_it_works_over_a_vector_environment_that_goals_reward() -> None:
    crafter = gym.make_vec("llm_wrappers/Crafter-v1", 4, vectorization_mode="sync")
    wrapped = ellm.wrap(crafter, "reference:crafter", caption_observation=True)
    envs = RandomNetworkDistillation(as_vec_env(wrapped), key="obs", **{**QUICK, "warmup": 16})
    model = PPO("MultiInputPolicy", envs, n_steps=16, batch_size=64, n_epochs=1, device="cpu")
    model.learn(128)
    assert envs.stats()["updates"] == 8
    assert envs.env_method("all_stats", indices=[0])[0]["SimilarityRewardWrapper"]["steps"] == 128
    envs.close()
