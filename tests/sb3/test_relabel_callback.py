"""Buffers hold the executed actions, and what a policy learns from advice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.sb3 import as_vec_env
from llm_wrappers.sb3.relabel_callback import RelabelCallback
from llm_wrappers.testing import ScriptedEnv
from llm_wrappers.wrappers import CriticalStateOverrideWrapper, vector

ADVISED = np.array([0.75, -1.5], np.float32)
BOX = gym.spaces.Box(-2.0, 2.0, (2,), np.float32)
UNEVEN = gym.spaces.Box(np.array([-2, -4], np.float32), np.array([2, 1], np.float32))
SPACES = {
    "discrete": (gym.spaces.Discrete(3), 2),
    "multi-discrete": (gym.spaces.MultiDiscrete([3, 2]), [2, 1]),
    "multi-binary": (gym.spaces.MultiBinary(3), [1, 0, 1]),
    "box": (BOX, ADVISED),
}


class Noted(BaseCallback):
    """Notes which actions were executed, as the infos tell it."""

    def __init__(self) -> None:
        super().__init__()
        self.executed: list[Any] = []
        self.overridden: list[Any] = []

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        self.executed.append([info["executed_action"] for info in infos])
        self.overridden.append([info["overridden"] for info in infos])
        return True


def all_positive(action: Any) -> CriticalStates:
    """Return a table in which states of three positive numbers are critical."""
    return CriticalStates([CriticalState([1.0, 1.0, 1.0], action)], key="bins:10")


def mostly_positive(space: Any) -> ScriptedEnv:
    return ScriptedEnv(gym.spaces.Box(-1.0, 9.0, (3,), np.float32), space)


def make(space: Any, action: Any, n: int = 2, **options: Any) -> DummyVecEnv:
    def make_one() -> gym.Env[Any, Any]:
        env = mostly_positive(space)
        chosen = {"probability": 1.0, **options}
        return Monitor(
            CriticalStateOverrideWrapper(env, critical_states=all_positive(action), **chosen)
        )

    return DummyVecEnv([make_one] * n)


def learn(model: Any, steps: int) -> tuple[RelabelCallback, Noted]:
    relabel, noted = RelabelCallback(), Noted()
    model.learn(steps, callback=[relabel, noted])
    return relabel, noted


def stored_actions(model: Any, noted: Noted) -> tuple[Any, Any, Any]:
    """Return the actions in the rollout buffer, those executed, and where advice was."""
    stored = model.rollout_buffer.actions
    executed = np.array(noted.executed).reshape(stored.shape)
    return stored, executed, np.array(noted.overridden)


def evaluated(model: Any, **masks: Any) -> Any:
    """Return the log-probabilities that the policy gives the stored actions, step by step."""
    buffer = model.rollout_buffer
    rows = []
    for step in range(buffer.buffer_size):
        actions = torch.as_tensor(buffer.actions[step].astype(np.float32))
        if isinstance(model.action_space, gym.spaces.Discrete):
            # As the algorithms themselves do before they ask for log-probabilities.
            actions = actions.long().flatten()
        with torch.no_grad():
            _, log_probabilities, _ = model.policy.evaluate_actions(
                torch.as_tensor(buffer.observations[step]), actions,
                **{name: value[step] for name, value in masks.items()},
            )  # fmt: skip
        rows.append(log_probabilities.numpy())
    return np.array(rows)


@pytest.fixture(autouse=True)
def _untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the policy that filled the buffer: what is compared is the buffer, not the training."""
    for kind in (PPO, A2C, MaskablePPO):
        monkeypatch.setattr(kind, "train", lambda self: None)


# --- on policy ---


@pytest.mark.parametrize("kind", [PPO, A2C])
@pytest.mark.parametrize("name", SPACES)
def test_the_rollout_holds_executed_actions_and_their_log_probabilities(
    kind: Any, name: str
) -> None:
    model = kind("MlpPolicy", make(*SPACES[name]), n_steps=32, seed=0, device="cpu")
    relabel, noted = learn(model, 64)
    stored, executed, overridden = stored_actions(model, noted)
    assert 10 < overridden.sum() < 60
    assert np.array_equal(stored[overridden], executed[overridden])
    assert np.abs(evaluated(model) - model.rollout_buffer.log_probs).max() == 0.0
    assert relabel.counts["steps"] == 64
    assert 0 < relabel.counts["rewritten"] <= overridden.sum()


def test_squashed_actions_are_stored_in_the_scale_of_the_policy() -> None:
    model = PPO(
        "MlpPolicy", make(UNEVEN, ADVISED), n_steps=32, seed=0, device="cpu", use_sde=True,
        policy_kwargs={"squash_output": True},
    )  # fmt: skip
    _, noted = learn(model, 64)
    stored, executed, overridden = stored_actions(model, noted)
    # (0.75 + 2) / 4 * 2 - 1 and (-1.5 + 4) / 5 * 2 - 1
    assert stored[overridden] == pytest.approx(np.full_like(stored[overridden], [0.375, 0.0]))
    assert np.isfinite(model.rollout_buffer.log_probs).all()
    assert executed[overridden][0].tolist() == ADVISED.tolist()


@pytest.mark.parametrize("forbids", [False, True])
def test_masks_are_respected(forbids: bool) -> None:
    """A mask that is set outside the override may forbid what was executed."""

    class Outside(gym.Wrapper[Any, Any, Any, Any]):
        def action_masks(self) -> Any:
            return np.array([True, True, not forbids])

    envs = make(*SPACES["discrete"])
    envs.envs = [Outside(env) for env in envs.envs]
    model = MaskablePPO("MlpPolicy", envs, n_steps=32, seed=0, device="cpu")
    relabel, noted = learn(model, 64)
    stored, executed, overridden = stored_actions(model, noted)
    assert np.array_equal(stored[overridden], executed[overridden]) is not forbids
    assert (relabel.counts["forbidden"] > 0) is forbids
    masks = model.rollout_buffer.action_masks
    found = evaluated(model, action_masks=masks)
    assert np.abs(found - model.rollout_buffer.log_probs).max() == 0.0
    assert model.rollout_buffer.log_probs.min() > -10.0


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_vector_environments_are_read_through_the_bridge(mode: Any) -> None:
    makers: list[Callable[[], Any]] = [lambda: mostly_positive(gym.spaces.Discrete(3))] * 2
    envs: Any = gym.vector.SyncVectorEnv(makers, autoreset_mode=mode)
    envs = vector.CriticalStateOverrideWrapper(
        envs, critical_states=all_positive(2), probability=1.0
    )
    model = PPO("MlpPolicy", as_vec_env(envs), n_steps=32, seed=0, device="cpu")
    _, noted = learn(model, 64)
    stored, executed, overridden = stored_actions(model, noted)
    assert overridden.any()
    assert np.array_equal(stored, executed)
    assert (executed >= 0).all()


def test_what_needs_no_relabelling_is_left_alone() -> None:
    """PPO itself stores an action before it is clipped to the space."""
    narrow = gym.spaces.Box(-0.1, 0.1, (2,), np.float32)
    model = PPO("MlpPolicy", make(narrow, [0.05, 0.0], mode="R"), n_steps=32, device="cpu")
    relabel, _ = learn(model, 64)
    assert np.abs(model.rollout_buffer.actions).max() > 0.1
    assert relabel.counts["rewritten"] == 0
    # Without the callback the rollout holds what was chosen.
    model = PPO("MlpPolicy", make(*SPACES["discrete"]), n_steps=32, seed=0, device="cpu")
    noted = Noted()
    model.learn(64, callback=noted)
    stored, executed, overridden = stored_actions(model, noted)
    assert not np.array_equal(stored[overridden], executed[overridden])


def test_memory_and_environments_that_tell_nothing_are_refused() -> None:
    envs = make(*SPACES["discrete"])
    recurrent = RecurrentPPO("MlpLstmPolicy", envs, n_steps=8, device="cpu")
    silent = PPO("MlpPolicy", gym.make("CartPole-v1"), n_steps=8, batch_size=8, device="cpu")
    for model, message in (
        (recurrent, "a policy without memory"),
        (silent, r"info\['executed_action'\]"),
    ):
        with pytest.raises(IncompatibleEnvironmentError, match=message):
            model.learn(16, callback=RelabelCallback())


# --- off policy ---


def test_dqn_learns_from_what_was_executed() -> None:
    model: Any = DQN("MlpPolicy", make(*SPACES["discrete"]), learning_starts=1000, device="cpu")
    relabel, noted = learn(model, 100)
    stored = model.replay_buffer.actions[: len(noted.executed), :, 0]
    assert np.array_equal(stored, np.array(noted.executed))
    assert np.array(noted.overridden).sum() >= relabel.counts["rewritten"] > 10


@pytest.mark.parametrize("relabels", [True, False])
def test_sac_learns_from_what_was_executed_in_its_own_scale(relabels: bool) -> None:
    model: Any = SAC("MlpPolicy", make(UNEVEN, ADVISED), learning_starts=30, seed=0, device="cpu")
    noted = Noted()
    model.learn(100, callback=[noted, RelabelCallback()] if relabels else noted)
    stored = model.replay_buffer.actions[:50]
    overridden = np.array(noted.overridden)
    scaled = model.policy.scale_action(np.array(noted.executed))
    assert overridden.any()
    assert np.allclose(stored[overridden], scaled[overridden]) is relabels
    assert np.allclose(stored[~overridden], scaled[~overridden], atol=1e-6)
