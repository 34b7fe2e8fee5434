"""What guidance is compared with: each learns or changes something, and says what does not fit."""

from __future__ import annotations

import copy
import csv
import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.distributions import MaskableCategorical
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from llm_wrappers.errors import (
    GuidanceFileError,
    GuidanceWarning,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.sb3 import (
    GridExtractor,
    GuidedDQN,
    MaskDistillationCallback,
    RandomNetworkDistillation,
    SoftMaskCallback,
    SoftMaskPolicy,
)
from llm_wrappers.sb3.baselines.relaxed_masks import masked_mass_loss, soft_masked_logits

# --- random network distillation ---

ROOMS = 12
QUICK: dict[str, Any] = {
    "warmup": 0, "update_every": 4, "train_share": 1.0, "learning_rate": 3e-3, "features": 16,
}  # fmt: skip


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


@pytest.mark.parametrize("kind", ["box", "dict", pytest.param("picture", marks=pytest.mark.slow)])
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


class Told(gym.Wrapper[Any, Any, Any, Any]):
    """Says that the reward of the environment was 7, as a reward wrapper below would."""

    def step(self, action: Any) -> Any:
        *rest, info = self.env.step(action)
        return (*rest, {**info, "extrinsic_reward": 7.0})


def test_the_last_observation_is_judged_and_the_reward_of_the_environment_kept() -> None:
    envs = RandomNetworkDistillation(rooms(n=2), **QUICK)
    envs.reset()
    play(envs, [0, 0], 154)
    envs.training = False
    # The fifth step ends the episode: what is shown is room 0, what was reached is room 9.
    _, rewards, dones, infos = envs.step(np.array([9, 0]))
    assert dones.all()
    assert infos[0]["rnd_reward"] > 3 * infos[1]["rnd_reward"]
    assert [info["extrinsic_reward"] for info in infos] == [2.0] * 2
    assert [info["room"] for info in infos] == [9, 0]
    assert rewards.dtype == np.float32
    assert rewards == pytest.approx([info["rnd_reward"] for info in infos])
    told = RandomNetworkDistillation(DummyVecEnv([lambda: Told(Rooms())]), **QUICK)
    told.reset()
    assert told.step(np.array([1]))[3][0]["extrinsic_reward"] == 7.0


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


def test_nothing_is_paid_while_statistics_are_taken_nor_by_infinite_rewards() -> None:
    class Infinite(Rooms):
        def step(self, action: Any) -> Any:
            observation, _, *rest = super().step(action)
            return (observation, float("inf"), *rest)

    envs = RandomNetworkDistillation(DummyVecEnv([Infinite] * 4), **{**QUICK, "warmup": 8})
    envs.reset()
    assert play(envs, [0, 1, 2, 3], 2) == [0.0, 0.0]
    assert 0 < play(envs, [0, 1, 2, 3], 1)[0] < math.inf


def test_rewards_are_divided_by_the_deviation_of_their_sum() -> None:
    envs = RandomNetworkDistillation(rooms(), **QUICK)
    envs.reset()
    play(envs, [0, 1, 2, 3], 10)
    envs.training = False
    before = play(envs, [4, 5, 6, 7], 1)[0]
    state = envs.state_dict()
    mean, variance, count = state["return_statistics"]
    envs.load_state_dict({**state, "return_statistics": [mean, 4 * variance, count]})
    assert play(envs, [4, 5, 6, 7], 1)[0] == pytest.approx(before / 2, rel=1e-4)


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
    actions = np.random.default_rng(1).integers(0, ROOMS, (40, 4))
    th.manual_seed(5)
    envs = RandomNetworkDistillation(rooms(), **options)
    envs.reset()
    for row in actions[:20]:
        envs.step(row)
    envs.save(tmp_path / "deep" / "rnd.pt")  # between two trainings: 20 is no multiple of 3
    expected = [envs.step(row)[1] for row in actions[20:]]
    drawn = th.rand(3)
    again = RandomNetworkDistillation(rooms(), **options, seed=99)
    again.reset()
    again.load(tmp_path / "deep" / "rnd.pt")
    got = [again.step(row)[1] for row in actions[20:]]
    assert np.array_equal(expected, got)
    assert_equal(envs.state_dict(), again.state_dict())
    # Where it does not train nothing changes; another seed is another run.
    again.training = False
    before = again.state_dict()
    assert len(set(play(again, [4, 5, 6, 7], 5))) == 1
    assert_equal(before, again.state_dict())
    other = RandomNetworkDistillation(rooms(), **options, seed=99)
    other.reset()
    assert [other.step(row)[1].tolist() for row in actions[:20]] != [r.tolist() for r in expected]
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
        ({"features": 0}, "features must be a whole number >= 1, got 0"),
        ({"update_every": True}, "update_every must be"),
        ({"warmup": -1}, "warmup must be a whole number >= 0"),
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


def critical(*numbers: int, part: str | None = None) -> CriticalStates:
    states = [CriticalState(np.eye(ROOMS)[number], 0) for number in numbers]
    return CriticalStates(states, key="exact", part=part)


@pytest.mark.parametrize("kind", ["box", "dict"])
def test_only_steps_into_critical_states_are_paid_those_that_end_an_episode_too(
    kind: str, tmp_path: Path
) -> None:
    key = None if kind == "box" else "obs"
    critical(2, 4, part=key).save(tmp_path / "states.json")
    plain, chosen, reader = (
        RandomNetworkDistillation(rooms(3, kind), critical_states=given, key=key, **QUICK)
        for given in (None, critical(2, 4, part=key), f"file:{tmp_path}/states.json")
    )
    plain.reset()
    chosen.reset()
    generator, hits = np.random.default_rng(0), 0
    for _ in range(20):
        actions = generator.integers(6, size=3)
        _, everywhere, _, _ = plain.step(actions)
        _, paid, _, infos = chosen.step(actions)
        met = np.isin(actions, [2, 4])
        hits += int(met.sum())
        # The same networks: the reward is that of everywhere, or none.
        assert paid.tolist() == np.where(met, everywhere, 0.0).tolist()
        assert [info["rnd_reward"] for info in infos] == pytest.approx(paid.tolist())
        assert (everywhere > 0.0).all()
    assert (chosen.stats()["critical"], plain.stats()["critical"]) == (hits, 0)
    assert hits > 0
    assert chosen.stats()["trained"] == plain.stats()["trained"] == 60
    chosen.save(tmp_path / "rnd.pt")
    reader.load(tmp_path / "rnd.pt")
    assert reader.stats() == chosen.stats()
    # A state from before this was counted.
    state = chosen.state_dict()
    del state["counts"]["critical"]
    plain.load_state_dict(state)


def test_tables_that_are_empty_lost_or_do_not_fit(tmp_path: Path) -> None:
    envs = RandomNetworkDistillation(
        rooms(1), critical_states="none", extrinsic_weight=0.5, **QUICK
    )
    envs.reset()
    assert play(envs, [3], 3) == [1.0] * 3
    # Otherwise training goes on without any reward: normalised observations match no state.
    lost = CriticalStates([CriticalState(np.full(ROOMS, 0.5), 0)], key="exact")
    envs = RandomNetworkDistillation(
        rooms(100), critical_states=lost, **{**QUICK, "update_every": 10_000}
    )
    envs.reset()
    play(envs, np.zeros(100, int), 9)
    with pytest.warns(GuidanceWarning, match=r"1000 steps with key='exact'.*normalised"):
        play(envs, np.zeros(100, int), 1)
    play(envs, np.zeros(100, int), 1)
    wrong = CriticalStates([CriticalState(np.zeros(3), 0)], key="exact")
    with pytest.raises(IncompatibleEnvironmentError, match=r"shape \(3,\)"):
        RandomNetworkDistillation(rooms(), critical_states=wrong)
    with pytest.raises(GuidanceFileError):
        RandomNetworkDistillation(rooms(), critical_states=f"file:{tmp_path}/none.json")


def test_ppo_trains_with_it_and_finds_the_wrapped_environment() -> None:
    table = CriticalStates([CriticalState([0.0, 0.0, 0.1, 0.0], 1)], key="nearest:1.0")
    envs = RandomNetworkDistillation(
        make_vec_env("CartPole-v1", n_envs=2), critical_states=table, **QUICK
    )
    PPO("MlpPolicy", envs, n_steps=64, batch_size=64, seed=0, device="cpu").learn(256)
    assert envs.stats()["steps"] == 128
    assert 0 < envs.stats()["critical"] < 256
    assert envs.get_attr("spec")[0].id == "CartPole-v1"


# --- soft masks ---

FALLING = {"kind": "linear", "start": 1.0, "end": 0.0}
ACTIONS = 4


class Choice(gym.Env):
    """One action pays, in episodes of 8 steps; the mask depends on the state."""

    def __init__(self, paid: int = 2, masks: Any = ((0, 1, 1, 0), (1, 0, 1, 0))) -> None:
        self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(ACTIONS)
        self.paid = paid
        self.masks = np.array(masks, dtype=bool)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        reward = float(action == self.paid)
        return self._observation(), reward, False, self.steps >= 8, {}

    def action_masks(self) -> Any:
        return self.masks[self.steps % len(self.masks)]

    def _observation(self) -> Any:
        return np.array([1.0, 1.0 if self.steps % 2 else -1.0], np.float32)


def make_policy(strength: float, seed: int = 0) -> SoftMaskPolicy:
    th.manual_seed(seed)
    env = Choice()
    policy = SoftMaskPolicy(
        env.observation_space, env.action_space, lambda _: 3e-4, strength=strength
    )
    with th.no_grad():  # a fresh policy is all but uniform
        policy.action_net.weight.normal_()
        policy.action_net.bias.normal_()
    return policy


def softly_masked(vec_env: Any, strength: float = 10.0, **options: Any) -> MaskablePPO:
    settings = {"n_steps": 32, "batch_size": 64, "n_epochs": 2, "seed": 0, "device": "cpu"}
    return MaskablePPO(
        SoftMaskPolicy, vec_env, policy_kwargs={"strength": strength}, **{**settings, **options}
    )


def log_probs(policy: SoftMaskPolicy, observations: th.Tensor, masks: Any = None) -> th.Tensor:
    with th.no_grad():
        distribution = policy.get_distribution(observations, action_masks=masks).distribution
        return distribution.logits


OBSERVATIONS = th.tensor([[1.0, -1.0], [1.0, 1.0], [0.3, -0.2]])
SOME_MASKS = np.array([[0, 1, 1, 0], [1, 1, 1, 0], [1, 0, 0, 0]], dtype=bool)

numbers = st.floats(-20, 20, width=32)
rows = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.lists(numbers, min_size=n, max_size=n), st.lists(st.booleans(), min_size=n, max_size=n)
    )
)


@given(row=rows, strength=st.floats(0, 30, width=32))
@settings(deadline=None)
def test_equation_5_lowers_closed_actions_and_keeps_the_ratios_of_open_ones(
    row: Any, strength: float
) -> None:
    logits, mask = th.tensor([row[0]], dtype=th.float64), th.tensor([row[1]])
    shifted = soft_masked_logits(logits, mask, th.tensor(strength, dtype=th.float64))
    assert th.equal(shifted[mask], logits[mask])
    th.testing.assert_close(shifted[~mask], logits[~mask] - strength)
    before, after = th.softmax(logits, 1), th.softmax(shifted, 1)
    if mask.any():
        th.testing.assert_close(after[mask] / after[mask].sum(), before[mask] / before[mask].sum())
    else:
        th.testing.assert_close(after, before)


@pytest.mark.parametrize("strength", [0.0, 0.7, 3.0])
def test_the_policy_lowers_closed_actions_by_c(strength: float) -> None:
    policy = make_policy(strength)
    plain, masked = (log_probs(policy, OBSERVATIONS, masks) for masks in (None, SOME_MASKS))
    change = masked - plain
    for row, open_ in zip(change, th.tensor(SOME_MASKS), strict=True):
        th.testing.assert_close(row[open_], row[open_][:1].expand(int(open_.sum())))
        th.testing.assert_close(row[~open_], (row[open_][0] - strength).expand(int((~open_).sum())))
    assert (masked.exp().sum(1) - 1).abs().max() < 1e-5


def test_no_strength_is_no_mask_and_a_large_one_the_hard_mask() -> None:
    free = make_policy(0.0)
    th.testing.assert_close(
        log_probs(free, OBSERVATIONS, SOME_MASKS), log_probs(free, OBSERVATIONS)
    )
    policy = make_policy(1e4)
    hard = MaskableCategorical(logits=log_probs(policy, OBSERVATIONS), masks=SOME_MASKS)
    soft = log_probs(policy, OBSERVATIONS, SOME_MASKS)
    th.testing.assert_close(soft.exp(), hard.probs)
    assert (soft.exp()[~th.tensor(SOME_MASKS)] == 0).all()


@pytest.mark.parametrize("strength", [0.0, 1.0, 30.0])
def test_the_entropy_counts_every_action(strength: float) -> None:
    policy = make_policy(strength)
    with th.no_grad():
        _, _, entropy = policy.evaluate_actions(
            OBSERVATIONS, th.tensor([1, 1, 0]), action_masks=th.tensor(SOME_MASKS)
        )
    logits = log_probs(policy, OBSERVATIONS, SOME_MASKS).double()
    th.testing.assert_close(entropy.double(), -(logits.exp() * logits).sum(1), atol=1e-5, rtol=1e-5)
    if strength == 0.0:
        with th.no_grad():
            unmasked = policy.get_distribution(OBSERVATIONS).entropy()
        th.testing.assert_close(entropy, unmasked)


def test_the_ways_to_ask_a_policy_agree() -> None:
    policy = make_policy(2.0)
    with th.no_grad():
        actions, _, log_prob = policy(OBSERVATIONS, action_masks=SOME_MASKS)
        _, evaluated, _ = policy.evaluate_actions(OBSERVATIONS, actions, th.tensor(SOME_MASKS))
    wanted = log_probs(policy, OBSERVATIONS, SOME_MASKS).gather(1, actions[:, None])[:, 0]
    th.testing.assert_close(log_prob, wanted)
    th.testing.assert_close(evaluated, wanted)
    best, _ = policy.predict(OBSERVATIONS.numpy(), deterministic=True, action_masks=SOME_MASKS)
    assert best.tolist() == log_probs(policy, OBSERVATIONS, SOME_MASKS).argmax(1).tolist()


def test_a_mask_can_be_replaced_and_removed() -> None:
    policy = make_policy(5.0)
    with th.no_grad():
        distribution = policy.get_distribution(OBSERVATIONS)
        free = distribution.distribution.probs
        distribution.apply_masking(SOME_MASKS)
        distribution.apply_masking(SOME_MASKS)  # not lowered twice
        th.testing.assert_close(
            distribution.distribution.logits, log_probs(policy, OBSERVATIONS, SOME_MASKS)
        )
        distribution.apply_masking(None)
        th.testing.assert_close(distribution.distribution.probs, free)


def test_the_strength_is_saved_with_the_model(tmp_path: Path) -> None:
    env = Choice()
    model = softly_masked(env, strength=7.0)
    model.policy.set_strength(2.5)
    model.save(tmp_path / "model.zip")
    model.policy.save(str(tmp_path / "policy.pt"))
    loaded = MaskablePPO.load(tmp_path / "model.zip", env=env, device="cpu").policy
    restored = SoftMaskPolicy.load(str(tmp_path / "policy.pt"), device="cpu")
    for policy in (loaded, restored):
        assert policy.strength.item() == 2.5
        th.testing.assert_close(
            log_probs(policy, OBSERVATIONS, SOME_MASKS),
            log_probs(model.policy, OBSERVATIONS, SOME_MASKS),
        )
        policy.set_strength(0.0)
        th.testing.assert_close(
            log_probs(policy, OBSERVATIONS, SOME_MASKS), log_probs(policy, OBSERVATIONS)
        )


@pytest.mark.parametrize(
    "move",
    # Conversions replace the buffers of a module, as moving it to a GPU does.
    [lambda policy: policy.double().float(), copy.deepcopy, lambda policy: policy.to("cpu")],
    ids=["converted", "copied", "moved"],
)
def test_the_strength_can_be_set_after_the_policy_was(move: Any) -> None:
    original = make_policy(10.0)
    log_probs(original, OBSERVATIONS, SOME_MASKS)
    policy = move(original)
    policy.set_strength(0.0)
    th.testing.assert_close(
        log_probs(policy, OBSERVATIONS, SOME_MASKS), log_probs(policy, OBSERVATIONS)
    )
    if policy is not original:
        assert original.strength.item() == 10.0


class Strengths(BaseCallback):
    """Notes C at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def _on_step(self) -> bool:
        self.seen.append(self.model.policy.strength.item())
        return True


def test_the_callback_lowers_c_rollout_by_rollout(tmp_path: Path) -> None:
    model, strengths = softly_masked(DummyVecEnv([Choice] * 2)), Strengths()
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(256, callback=[SoftMaskCallback(FALLING, strength=8.0), strengths])
    model.logger.close()
    assert strengths.seen == [8.0] * 32 + [6.0] * 32 + [4.0] * 32 + [2.0] * 32
    logged = csv.DictReader((tmp_path / "progress.csv").read_text().splitlines())
    assert [float(row["guidance/mask_strength"]) for row in logged] == [8.0, 6.0, 4.0, 2.0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("paid", "strength"),
    # Action 2 is open in every state, and 3 in none: a finite C lets it be found all the same.
    [(2, 10.0), (3, 1.5)],
    ids=["open", "closed"],
)
def test_it_learns(paid: int, strength: float) -> None:
    vec_env = DummyVecEnv([lambda: Choice(paid)] * 8)
    model = softly_masked(vec_env, strength, n_epochs=6, learning_rate=1e-2, gamma=0.0)
    model.learn(4096)
    env = Choice(paid)
    observation, _ = env.reset(seed=1)
    rewards = []
    for _ in range(8):
        action, _ = model.predict(observation, action_masks=env.action_masks())
        observation, reward, *_ = env.step(action)
        rewards.append(reward)
    assert np.mean(rewards) > 0.8


def test_soft_masks_say_what_does_not_fit() -> None:
    box = gym.spaces.Box(-1, 1, (2,))
    for space in (gym.spaces.MultiDiscrete([2, 2]), gym.spaces.Box(0, 1)):
        with pytest.raises(IncompatibleEnvironmentError, match="expected a Discrete action space"):
            SoftMaskPolicy(box, space, lambda _: 3e-4)
    for strength in (-1.0, float("nan")):
        for call in (
            lambda c: make_policy(c),
            lambda c: make_policy(1.0).set_strength(c),
            lambda c: SoftMaskCallback(FALLING, strength=c),
        ):
            with pytest.raises(InvalidOptionError, match="strength must be a finite number >= 0"):
                call(strength)
    with pytest.raises(InvalidOptionError, match="schedule"):
        SoftMaskCallback(lambda progress: 2.0)
    model = MaskablePPO("MlpPolicy", Choice(), n_steps=32, batch_size=32, device="cpu")
    with pytest.raises(IncompatibleEnvironmentError, match="SoftMaskCallback needs a SoftMaskPoli"):
        model.learn(32, callback=SoftMaskCallback(FALLING))


# --- mask distillation ---

SEEN = np.eye(3, dtype=np.float32)
# Each action is open in one room and closed in another, except the last, which is never open.
OPEN = np.array([[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [1, 0, 1, 1, 0]], dtype=bool)
PAID = (0, 2, 3)


class Walk(gym.Env):
    """A random walk through three rooms; in each another open action pays."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0, 1, (3,), np.float32)
        self.action_space = gym.spaces.Discrete(5)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        self.room = int(self.np_random.integers(3))
        return SEEN[self.room], {}

    def step(self, action: Any) -> Any:
        reward = float(action == PAID[self.room])
        self.steps += 1
        self.room = int(self.np_random.integers(3))
        return SEEN[self.room], reward, False, self.steps >= 10, {}

    def action_masks(self) -> Any:
        return OPEN[self.room]


def walking(**options: Any) -> MaskablePPO:
    settings = {"n_steps": 32, "batch_size": 64, "n_epochs": 4, "learning_rate": 3e-3, "seed": 0}
    return MaskablePPO(
        "MlpPolicy", DummyVecEnv([Walk] * 4), device="cpu", gamma=0.0, **{**settings, **options}
    )


def probabilities(model: MaskablePPO, masks: Any = None) -> Any:
    with th.no_grad():
        distribution = model.policy.get_distribution(th.tensor(SEEN), action_masks=masks)
        return distribution.distribution.probs.numpy()


mixed_masks = (
    st.integers(2, 6).flatmap(lambda n: st.lists(st.booleans(), min_size=n, max_size=n)).filter(any)
)


@given(masks=st.lists(mixed_masks, min_size=1, max_size=1), data=st.data())
@settings(deadline=None)
def test_only_closed_logits_have_a_gradient(masks: list[list[bool]], data: Any) -> None:
    number = st.floats(-8, 8, width=32)
    size = len(masks[0])
    logits = th.tensor(
        [data.draw(st.lists(number, min_size=size, max_size=size))], requires_grad=True
    )
    open_ = th.tensor(masks)
    loss = masked_mass_loss(logits, open_)
    loss.backward()
    assert loss.item() >= 0
    assert (logits.grad[open_] == 0).all()
    assert (logits.grad[~open_] >= 0).all()  # so that gradient descent lowers them
    if not open_.all():
        assert logits.grad[~open_].max() > 0


def test_the_loss_is_the_surprise_of_the_open_actions() -> None:
    logits = th.tensor([[0.3, -1.0, 2.0], [1.0, 1.0, 1.0]])
    masks = th.tensor([[True, False, True], [False, True, False]])
    mass = (th.softmax(logits, 1) * masks).sum(1)
    th.testing.assert_close(masked_mass_loss(logits, masks), -mass.log().mean())


@pytest.mark.slow
def test_closed_actions_become_unlikely_without_masks() -> None:
    closed = {}
    for name, callback in (
        ("without", None),
        ("with", MaskDistillationCallback(learning_rate=3e-3, batch_size=64)),
    ):
        model = walking()
        model.learn(4096, callback=callback)
        closed[name] = (probabilities(model) * ~OPEN).sum(axis=1)
        # What the masks leave is learned either way.
        masked = probabilities(model, OPEN)
        assert (masked[range(3), PAID] > 0.8).all()
    assert closed["without"].sum() > 0.5
    assert closed["with"].sum() < 0.4 * closed["without"].sum()
    assert closed["with"].max() < 0.2


class Snapshots(BaseCallback):
    """Keeps the last layer and the rest of the policy, at the moments around a distillation."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[dict[str, th.Tensor]] = []

    def _on_rollout_start(self) -> None:
        self._keep()

    def _on_training_end(self) -> None:
        self._keep()

    def _keep(self) -> None:
        state = self.model.policy.state_dict()
        self.weights.append({name: value.clone() for name, value in state.items()})

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize("callback", [MaskDistillationCallback, None], ids=["distilled", "soft"])
def test_ppo_updates_the_policy_that_made_the_rollout(
    callback: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if callback is None:
        model = softly_masked(DummyVecEnv([Choice] * 2), n_epochs=3)
        given: Any = SoftMaskCallback(FALLING, strength=3.0)
    else:
        model, given = walking(), callback(learning_rate=0.05, batch_size=32)
    update = model.train
    compared = []

    def checked_update() -> None:
        for batch in model.rollout_buffer.get(64):
            with th.no_grad():
                _, log_prob, _ = model.policy.evaluate_actions(
                    batch.observations, batch.actions.long().flatten(), batch.action_masks
                )
            # Else PPO's ratio is not 1 before its first gradient step, and clips at random.
            th.testing.assert_close(log_prob, batch.old_log_prob, atol=1e-5, rtol=1e-5)
            compared.append(len(log_prob))
        update()

    monkeypatch.setattr(model, "train", checked_update)
    model.learn(256, callback=given)
    assert sum(compared) == 256


def test_a_distillation_step_leaves_what_is_never_masked_alone() -> None:
    before, after = Snapshots(), Snapshots()
    model = walking()
    model.learn(256, callback=[before, MaskDistillationCallback(learning_rate=0.01), after])
    assert len(before.weights) == 3
    changes = [
        {name for name in old if not th.equal(old[name], new[name])}
        for old, new in zip(before.weights, after.weights, strict=True)
    ]
    # Nothing to learn from before the first rollout; a step after each of the two.
    assert changes == [set(), *[{"action_net.weight", "action_net.bias"}] * 2]
    for old, new in zip(before.weights, after.weights, strict=True):
        assert (new["action_net.bias"] <= old["action_net.bias"]).all()


@pytest.mark.parametrize("shared", [True, False], ids=["shared features", "own features"])
def test_the_masked_policy_is_left_alone_where_masks_do_not_vary(shared: bool) -> None:
    class Same(Walk):
        def action_masks(self) -> Any:
            return OPEN[0]

    model = MaskablePPO(
        "MlpPolicy",
        DummyVecEnv([Same] * 2),
        n_steps=32,
        batch_size=64,
        seed=0,
        device="cpu",
        policy_kwargs={"share_features_extractor": shared},
    )
    model.learn(64)
    free, masked = probabilities(model), probabilities(model, np.tile(OPEN[0], (3, 1)))
    # A learning rate of PPO of 0: what changes is the distillation's doing.
    model.lr_schedule = lambda _: 0.0
    model.learn(
        320, reset_num_timesteps=False, callback=MaskDistillationCallback(learning_rate=0.05)
    )
    np.testing.assert_allclose(
        probabilities(model, np.tile(OPEN[0], (3, 1))), masked, rtol=1e-5, atol=1e-6
    )
    closed = ~OPEN[0]
    assert (probabilities(model)[:, closed].sum(1) < 0.7 * free[:, closed].sum(1)).all()


def test_the_loss_is_logged_and_falls(tmp_path: Path) -> None:
    model = walking()
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(640, callback=MaskDistillationCallback(learning_rate=0.02, batch_size=32))
    model.logger.close()
    rows = csv.DictReader((tmp_path / "progress.csv").read_text().splitlines())
    losses = [row["guidance/masked_mass_loss"] for row in rows]
    assert losses[0] == ""  # nothing was learned before the first rollout
    assert float(losses[-1]) < 0.8 * float(losses[1])


def test_a_rollout_that_was_cut_off_is_not_learned_from() -> None:
    class StopAt(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 10

    before, after = Snapshots(), Snapshots()
    walking().learn(256, callback=[before, MaskDistillationCallback(), StopAt(), after])
    assert all(
        th.equal(before.weights[-1][name], after.weights[-1][name]) for name in before.weights[-1]
    )


def test_distillation_says_what_does_not_fit() -> None:
    for options in ({"learning_rate": 0.0}, {"learning_rate": math.nan}, {"batch_size": 0}):
        with pytest.raises(InvalidOptionError, match="learning_rate and batch_size must be posit"):
            MaskDistillationCallback(**options)

    class Parts(Walk):
        def __init__(self) -> None:
            super().__init__()
            self.action_space = gym.spaces.MultiDiscrete([2, 3])

    small: dict[str, Any] = {"n_steps": 32, "batch_size": 32, "device": "cpu"}
    for model in (PPO("MlpPolicy", Walk(), **small), MaskablePPO("MlpPolicy", Parts(), **small)):
        with pytest.raises(IncompatibleEnvironmentError, match="needs MaskablePPO and a Discrete"):
            model.learn(32, callback=MaskDistillationCallback())


# --- exploration with a guide ---

EXPLORING: dict[str, Any] = {
    "learning_starts": 100, "buffer_size": 3_000, "device": "cpu", "seed": 0, "train_freq": 4,
    "policy_kwargs": {"net_arch": [32]}, "learning_rate": 1e-3, "exploration_final_eps": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def guide() -> PPO:
    """Return a model that advises; how well does not matter."""
    return PPO("MlpPolicy", "CartPole-v1", n_steps=256, batch_size=64, seed=0, device="cpu")


def weights(model: Any) -> list[Any]:
    return [tensor.clone() for tensor in model.policy.state_dict().values()]


def same(one: list[Any], other: list[Any]) -> bool:
    return all(th.equal(left, right) for left, right in zip(one, other, strict=True))


def test_without_a_guide_it_is_a_dqn() -> None:
    options = {**EXPLORING, "exploration_final_eps": 0.3}
    plain = DQN("MlpPolicy", "CartPole-v1", **options).learn(400)
    ours = GuidedDQN("MlpPolicy", "CartPole-v1", **options).learn(400)
    assert same(weights(plain), weights(ours))
    assert ours.guided == 0 < ours.explored


def mean_length(model: Any) -> float:
    return float(np.mean([episode["l"] for episode in model.ep_info_buffer]))


@pytest.mark.slow
def test_a_guide_makes_exploring_episodes_longer() -> None:
    guide = PPO("MlpPolicy", "CartPole-v1", n_steps=256, batch_size=64, seed=0, device="cpu")
    guide.learn(4_096)
    # Everything explores here, so that the length of episodes is the guide's doing alone.
    lengths = {}
    for share in (0.0, 0.5, 1.0):
        model = GuidedDQN("MlpPolicy", "CartPole-v1", guide=guide, guide_share=share, **EXPLORING)
        lengths[share] = mean_length(model.learn(2_000))
    assert lengths[0.0] < 35
    assert lengths[0.0] * 1.2 < lengths[0.5]
    assert lengths[0.5] * 1.2 < lengths[1.0]


def test_greedy_actions_are_not_the_guides(guide: PPO) -> None:
    options = {**EXPLORING, "exploration_initial_eps": 0.0, "exploration_final_eps": 0.0}
    model = GuidedDQN("MlpPolicy", "CartPole-v1", guide=guide, guide_share=1.0, **options)
    model.learn(300)
    assert model.explored == model.guided == 0
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    model.exploration_rate = 1.0
    actions, _ = model.predict(observations, deterministic=True)
    assert np.array_equal(actions, model.policy.predict(observations, deterministic=True)[0])
    assert model.explored == 0


def test_actions_have_the_shape_of_the_observations(guide: PPO) -> None:
    model = GuidedDQN("MlpPolicy", "CartPole-v1", guide=guide, **EXPLORING)
    model.exploration_rate = 1.0
    one, _ = model.predict(np.zeros(4, dtype=np.float32))
    many, _ = model.predict(np.zeros((6, 4), dtype=np.float32))
    assert np.shape(one) == ()
    assert many.shape == (6,)
    assert model.action_space.contains(one)


def test_a_share_of_the_random_actions_is_the_guides_and_it_is_not_trained(
    guide: PPO, tmp_path: Path
) -> None:
    before = weights(guide)
    model = GuidedDQN("MlpPolicy", "CartPole-v1", guide=guide, guide_share=0.25, **EXPLORING)
    model.learn(600)
    assert same(before, weights(guide))
    # The first 100 steps are before `learning_starts`, and not counted.
    assert model.explored == 500
    assert 0.18 < model.guided / model.explored < 0.32
    model.save(tmp_path / "model.zip")
    loaded = GuidedDQN.load(tmp_path / "model.zip", env=gym.make("CartPole-v1"), device="cpu")
    assert same(weights(model), weights(loaded))
    assert same(before, [*loaded.guide.state_dict().values()])
    assert (loaded.guide_share, loaded.explored) == (0.25, 500)
    loaded.learn(100, reset_num_timesteps=False)
    assert loaded.explored > 500
    assert loaded.guided > model.guided


def test_guides_that_do_not_fit_are_refused() -> None:
    for share in (-0.1, 1.1, math.nan, "half", True):
        with pytest.raises(InvalidOptionError, match="guide_share must be a number in"):
            GuidedDQN("MlpPolicy", "CartPole-v1", guide_share=share)
    with pytest.raises(InvalidOptionError, match="trained model or its policy, got a str"):
        GuidedDQN("MlpPolicy", "CartPole-v1", guide="model.zip")
    other = PPO("MlpPolicy", "MountainCar-v0", device="cpu")
    with pytest.raises(IncompatibleEnvironmentError, match="the observation_space"):
        GuidedDQN("MlpPolicy", "CartPole-v1", guide=other, device="cpu")


@pytest.mark.slow
def test_a_dqn_can_be_the_guide_and_the_agent_learns() -> None:
    pretrained = DQN("MlpPolicy", "CartPole-v1", **EXPLORING).learn(500)
    options = {**EXPLORING, "exploration_final_eps": 0.05, "exploration_fraction": 0.5}
    model = GuidedDQN("MlpPolicy", "CartPole-v1", guide=pretrained, **options)
    before = weights(model)
    model.learn(500)
    assert not same(before, weights(model))


# --- features of a grid ---

GRID = (3, 3, 4)
TILES, KINDS = 9, 4
REST, GOALS = 2, 3


def box(size):
    return spaces.Box(0.0, 1.0, (size,), np.float32)


def with_goal():
    return spaces.Dict({"obs": box(TILES * KINDS + REST), "goal": box(GOALS)})


def observation(kinds, rest=(0.0, 0.0), goal=0):
    """Return one observation whose tiles show these kinds, as the extractor takes it."""
    tiles = th.nn.functional.one_hot(th.tensor(kinds), KINDS).float().flatten()
    return {
        "obs": th.cat([tiles, th.tensor(rest)])[None],
        "goal": th.nn.functional.one_hot(th.tensor([goal]), GOALS).float(),
    }


def test_a_flat_observation_and_one_with_a_goal_have_the_sizes_they_announce():
    flat = GridExtractor(box(TILES * KINDS + REST), grid=GRID, embedding=5, heads=2)
    guided = GridExtractor(with_goal(), grid=GRID, embedding=5, heads=2)
    assert flat(th.zeros(7, TILES * KINDS + REST)).shape == (7, flat.features_dim)
    features = guided({"obs": th.zeros(7, TILES * KINDS + REST), "goal": th.zeros(7, GOALS)})
    assert features.shape == (7, guided.features_dim)
    assert guided.features_dim == flat.features_dim + GOALS


def test_relevance_is_of_the_kind_of_tile_the_goal_and_the_rest() -> None:
    extractor = GridExtractor(with_goal(), grid=GRID, embedding=5, heads=2)
    kinds = [1, 0, 0, 0, 2, 0, 0, 0, 1]
    relevance = extractor(observation(kinds))[0, : TILES * 2].reshape(TILES, 2)
    assert th.equal(relevance[0], relevance[8])
    assert not th.equal(relevance[0], relevance[4])
    for other in (observation(kinds, goal=1), observation(kinds, rest=(1.0, 0.0))):
        assert not th.allclose(relevance.flatten(), extractor(other)[0, : TILES * 2])
    features = extractor(observation([0] * TILES, rest=(0.25, 0.75), goal=2))
    assert features[0, -(REST + GOALS) :].tolist() == [0.25, 0.75, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (box(TILES * KINDS - 1), "at least 36 numbers"),
        (spaces.Box(0, 1, (4, 4)), "expected flat Box observations"),
        (spaces.Dict({"pixels": box(100)}), "under 'obs'"),
        (spaces.Dict({"obs": box(100), "goal": spaces.Discrete(3)}), "under 'goal'"),
    ],
)
def test_an_observation_without_a_flat_grid_is_refused(space, message):
    with pytest.raises(IncompatibleEnvironmentError, match=message):
        GridExtractor(space, grid=GRID)


@pytest.mark.parametrize("option", [{"embedding": 0}, {"heads": 0}, {"grid": (0, 3, 4)}])
def test_sizes_below_one_are_refused(option):
    with pytest.raises(InvalidOptionError, match="sizes must be >= 1"):
        GridExtractor(with_goal(), **{"grid": GRID, **option})
