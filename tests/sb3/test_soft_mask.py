"""Soft masks: Eq. 5 of SGRL with a finite C, in the policy, in training and on disk."""

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
from hypothesis import given, settings
from hypothesis import strategies as st
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.distributions import MaskableCategorical
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.sb3 import SoftMaskCallback, SoftMaskPolicy
from llm_wrappers.sb3.baselines.relaxed_masks import soft_masked_logits

FALLING = {"kind": "linear", "start": 1.0, "end": 0.0}
ACTIONS = 4


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(threads)


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


def make_model(vec_env: Any, strength: float = 10.0, **options: Any) -> MaskablePPO:
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


@given(row=rows, strength=st.floats(0, 50, width=32))
@settings(deadline=None)
def test_equation_5(row: Any, strength: float) -> None:
    logits, mask = th.tensor([row[0]]), th.tensor([row[1]])
    shifted = soft_masked_logits(logits, mask, th.tensor(strength))
    assert th.equal(shifted[mask], logits[mask])
    th.testing.assert_close(shifted[~mask], logits[~mask] - strength)


@given(row=rows, strength=st.floats(0, 30, width=32))
@settings(deadline=None)
def test_open_actions_keep_their_ratios(row: Any, strength: float) -> None:
    logits, mask = th.tensor([row[0]], dtype=th.float64), th.tensor([row[1]])
    shifted = soft_masked_logits(logits, mask, th.tensor(strength, dtype=th.float64))
    before, after = th.softmax(logits, 1), th.softmax(shifted, 1)
    assert after.sum().item() == pytest.approx(1.0)
    if mask.any():
        th.testing.assert_close(after[mask] / after[mask].sum(), before[mask] / before[mask].sum())
        # Closed ones lose the factor exp(-C) against open ones.
        lost = (after[~mask] / after[mask].sum()) / (before[~mask] / before[mask].sum())
        th.testing.assert_close(lost, th.full_like(lost, math.exp(-strength)))
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


def test_no_strength_is_no_mask() -> None:
    policy = make_policy(0.0)
    th.testing.assert_close(
        log_probs(policy, OBSERVATIONS, SOME_MASKS), log_probs(policy, OBSERVATIONS)
    )


def test_a_large_strength_is_the_hard_mask() -> None:
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


def test_closed_actions_are_drawn_as_often_as_c_says() -> None:
    policy = make_policy(1.0)
    many = OBSERVATIONS[:1].expand(4000, 2)
    mask = np.tile(SOME_MASKS[:1], (4000, 1))
    actions, _ = policy.predict(many.numpy(), action_masks=mask)
    wanted = log_probs(policy, OBSERVATIONS[:1], SOME_MASKS[:1]).exp()[0].numpy()
    assert wanted[~SOME_MASKS[0]].sum() > 0.02
    np.testing.assert_allclose(np.bincount(actions, minlength=ACTIONS) / 4000, wanted, atol=0.03)


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


def test_gradients_reach_closed_actions() -> None:
    policy = make_policy(1.0)
    _, log_prob, _ = policy.evaluate_actions(
        OBSERVATIONS[:1], th.tensor([1]), th.tensor(SOME_MASKS[:1])
    )
    log_prob.sum().backward()
    # A hard mask gives 0 here, so that closed actions never learn.
    assert (policy.action_net.bias.grad != 0).all()


def test_the_strength_is_saved_with_the_model(tmp_path: Path) -> None:
    env = Choice()
    model = make_model(env, strength=7.0)
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


def test_dict_observations() -> None:
    class Named(gym.ObservationWrapper):
        def __init__(self) -> None:
            super().__init__(Choice())
            self.observation_space = gym.spaces.Dict(here=self.env.observation_space)

        def observation(self, observation: Any) -> Any:
            return {"here": observation}

        def action_masks(self) -> Any:
            return self.env.action_masks()

    model = make_model(DummyVecEnv([Named] * 2)).learn(64)
    assert model.num_timesteps == 64


@pytest.mark.parametrize(
    "space", [gym.spaces.MultiDiscrete([2, 2]), gym.spaces.MultiBinary(3), gym.spaces.Box(0, 1)]
)
def test_other_action_spaces_are_refused(space: Any) -> None:
    with pytest.raises(IncompatibleEnvironmentError, match="expected a Discrete action space"):
        SoftMaskPolicy(gym.spaces.Box(-1, 1, (2,)), space, lambda _: 3e-4)


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_a_strength_that_is_none(strength: float) -> None:
    with pytest.raises(InvalidOptionError, match="strength must be a finite number >= 0"):
        make_policy(strength)
    with pytest.raises(InvalidOptionError, match="strength must be a finite number >= 0"):
        make_policy(1.0).set_strength(strength)
    with pytest.raises(InvalidOptionError, match="strength must be a finite number >= 0"):
        SoftMaskCallback(FALLING, strength=strength)


def test_a_schedule_that_is_none() -> None:
    with pytest.raises(InvalidOptionError, match="schedule"):
        SoftMaskCallback(lambda progress: 2.0)


def test_the_callback_needs_the_policy() -> None:
    model = MaskablePPO("MlpPolicy", Choice(), n_steps=32, batch_size=32, device="cpu")
    with pytest.raises(IncompatibleEnvironmentError, match="SoftMaskCallback needs a SoftMaskPoli"):
        model.learn(32, callback=SoftMaskCallback(FALLING))


class Strengths(BaseCallback):
    """Notes C at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def _on_step(self) -> bool:
        self.seen.append(self.model.policy.strength.item())
        return True


def test_the_callback_lowers_c_rollout_by_rollout(tmp_path: Path) -> None:
    model, strengths = make_model(DummyVecEnv([Choice] * 2)), Strengths()
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(256, callback=[SoftMaskCallback(FALLING, strength=8.0), strengths])
    model.logger.close()
    assert strengths.seen == [8.0] * 32 + [6.0] * 32 + [4.0] * 32 + [2.0] * 32
    logged = csv.DictReader((tmp_path / "progress.csv").read_text().splitlines())
    assert [float(row["guidance/mask_strength"]) for row in logged] == [8.0, 6.0, 4.0, 2.0]


def test_c_is_the_same_in_a_rollout_and_in_the_update_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make_model(DummyVecEnv([Choice] * 2), n_epochs=3)
    update = model.train
    compared = []

    def checked_update() -> None:
        for batch in model.rollout_buffer.get(16):
            with th.no_grad():
                _, log_prob, _ = model.policy.evaluate_actions(
                    batch.observations, batch.actions.long().flatten(), batch.action_masks
                )
            th.testing.assert_close(log_prob, batch.old_log_prob, atol=1e-5, rtol=1e-5)
            compared.append(len(log_prob))
        update()

    monkeypatch.setattr(model, "train", checked_update)
    model.learn(256, callback=SoftMaskCallback(FALLING, strength=3.0))
    assert sum(compared) == 256


@pytest.mark.parametrize(
    ("paid", "strength"),
    # Action 2 is open in every state, and 3 in none: a finite C lets it be found all the same.
    [(2, 10.0), (3, 1.5)],
    ids=["open", "closed"],
)
def test_it_learns(paid: int, strength: float) -> None:
    vec_env = DummyVecEnv([lambda: Choice(paid)] * 8)
    model = make_model(vec_env, strength, n_epochs=6, learning_rate=1e-2, gamma=0.0)
    model.learn(4096)
    env = Choice(paid)
    observation, _ = env.reset(seed=1)
    rewards = []
    for _ in range(8):
        action, _ = model.predict(observation, action_masks=env.action_masks())
        observation, reward, *_ = env.step(action)
        rewards.append(reward)
    assert np.mean(rewards) > 0.8
