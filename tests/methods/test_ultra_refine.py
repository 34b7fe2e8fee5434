"""The whole of ULTRA with real algorithms: play, find, correct, train on."""

from __future__ import annotations

import json
import re
import signal
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from sb3_contrib import MaskablePPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import AuthoringError, IncompatibleEnvironmentError
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.methods import ultra
from llm_wrappers.sb3 import refine
from llm_wrappers.testing import ScriptedLLM
from llm_wrappers.trajectories.files import open_trajectories
from llm_wrappers.wrappers import TrajectoryRecorder

cart_pole = partial(gym.make, "CartPole-v1", max_episode_steps=40)
cart_pole_captioner = resolve_captioner(gym.make("CartPole-v1"))
BY_HAND = {"selector": "return-drop", "corrector": "reference"}
SMALL = {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "device": "cpu"}


def cart_poles(n):
    return gym.vector.SyncVectorEnv([cart_pole] * n, autoreset_mode=AutoresetMode.SAME_STEP)


def parameters(model):
    return [value.detach().numpy().copy() for value in model.policy.state_dict().values()]


@pytest.fixture
def ppo():
    return PPO("MlpPolicy", cart_pole(), seed=0, **SMALL)


class Seen(BaseCallback):
    """Keeps the progress of the wrapper and the infos of the training."""

    def __init__(self):
        super().__init__()
        self.infos = []
        self.weights = []

    def _on_step(self):
        self.infos += self.locals["infos"]
        self.weights.append(self.training_env.env_method("stats")[0]["weight"])
        return True


def test_a_policy_is_refined_in_place_and_keeps_its_own_environment(ppo, tmp_path):
    own, before = ppo.get_env(), parameters(ppo)
    ppo.learn(64)
    seen = Seen()
    fading = {"kind": "linear", "start": 1.0, "end": 0.0}
    refinement = refine(
        ppo, cart_pole(), steps=64, episodes=4, per_episode=3, seed=1, folder=tmp_path,
        override={"schedule": fading, "probability": 1.0, "alpha": 0.25}, callback=seen, **BY_HAND,
    )  # fmt: skip
    assert ppo.get_env() is own
    assert ppo.num_timesteps == 128
    assert any((one != two).any() for one, two in zip(before, parameters(ppo), strict=True))
    assert refinement.stats["steps"] == 64
    # Schedules begin with the refinement, whatever was trained before.
    assert seen.weights[0] == 0.25
    assert seen.weights[-1] == 0.125
    hits = [info for info in seen.infos if info["critical"]]
    assert len(hits) == refinement.stats["hits"] > 0
    assert any(info["overridden"] for info in hits)
    # What is logged of an episode is the reward of the environment.
    episodes = [info["episode"] for info in seen.infos if "episode" in info]
    assert episodes
    assert all(episode["r"] == episode["l"] for episode in episodes)
    assert len(open_trajectories(tmp_path / "history")) == 4 == len(refinement.trajectories)
    table = CriticalStates.load(tmp_path / "critical-states.json")
    assert len(table) == len(refinement.critical_states) > 0
    assert "steps of training" in str(refinement)


def test_a_seed_makes_it_repeatable():
    runs = []
    for seed in (1, 1, 2):
        model = PPO("MlpPolicy", cart_pole(), seed=0, **SMALL)
        refine(model, cart_pole(), steps=64, episodes=2, seed=seed, **BY_HAND)
        runs.append(parameters(model))
    assert all((one == two).all() for one, two in zip(runs[0], runs[1], strict=True))
    assert any((one != two).any() for one, two in zip(runs[0], runs[2], strict=True))


def test_a_model_of_two_environments_goes_on_in_two():
    model = PPO("MlpPolicy", DummyVecEnv([cart_pole] * 2), seed=0, **SMALL)
    refinement = refine(model, cart_poles(2), steps=64, episodes=2, seed=0, **BY_HAND)
    assert refinement.stats["steps"] == 64


@pytest.mark.slow
def test_statistics_of_vec_normalize_are_used_and_go_on():
    normalized = VecNormalize(DummyVecEnv([cart_pole]))
    model = PPO("MlpPolicy", normalized, seed=0, **SMALL).learn(64)
    counted = normalized.obs_rms.count
    refine(model, cart_pole(), steps=64, episodes=2, seed=0, **BY_HAND)
    assert model.get_vec_normalize_env() is normalized
    assert normalized.obs_rms.count == counted + 65


def test_dqn_stores_what_was_executed():
    model = DQN("MlpPolicy", cart_pole(), learning_starts=8, buffer_size=256, seed=0, device="cpu")
    seen = Seen()
    refinement = refine(
        model, cart_pole(), steps=128, episodes=3, seed=0, callback=seen,
        override={"probability": 1.0}, **BY_HAND,
    )  # fmt: skip
    stored = model.replay_buffer.actions[:128].ravel().tolist()
    assert stored == [info["executed_action"] for info in seen.infos]
    assert refinement.stats["overrides"] > 0
    assert stored != [info["agent_action"] for info in seen.infos]


def test_continuous_actions_and_a_better_policy_as_corrector():
    pendulum = partial(gym.make, "Pendulum-v1", max_episode_steps=30)
    options: dict[str, Any] = {
        "learning_starts": 8, "buffer_size": 256, "device": "cpu",
        "policy_kwargs": {"net_arch": [8]}, "train_freq": 20, "batch_size": 16,
    }  # fmt: skip
    better = SAC("MlpPolicy", pendulum(), seed=7, **options)

    class Better:
        def correct(self, trajectories, moments):
            found = []
            for moment in moments:
                state = trajectories[moment.episode].observations[moment.step]
                action, _ = better.predict(state, deterministic=True)
                found.append(CriticalState(state, action, reward=-1.0))
            return found

    model = SAC("MlpPolicy", pendulum(), seed=0, **options)
    refinement = refine(
        model, pendulum(), steps=60, episodes=2, seed=0, selector="random", corrector=Better()
    )
    assert refinement.stats["hits"] > 0


class OnlyLeft(gym.Wrapper):
    def action_masks(self):
        return np.array([True, False])


def test_maskable_ppo_is_not_advised_what_its_mask_forbids():
    model = MaskablePPO("MlpPolicy", OnlyLeft(cart_pole()), seed=0, **SMALL)
    refinement = refine(
        model, OnlyLeft(cart_pole()), steps=64, episodes=2, per_episode=10, seed=0,
        override={"probability": 1.0}, **BY_HAND,
    )  # fmt: skip
    assert all((trajectory.actions == 0).all() for trajectory in refinement.trajectories)
    assert refinement.stats["skipped"] > 0


# --- by a language model ---


def answer(request):
    """Name the fourth step, and advise pushing right in it."""
    text = request.messages[-1]["content"]
    if "corrections" not in text:
        return json.dumps({"case_analysis": "", "states": [
            {"episode": 0, "step": 3, "importance": 1.0, "rationale": "It begins to fall."}
        ]})  # fmt: skip
    (episode,) = re.findall(r"^## Episode (\d+)", text, re.MULTILINE)
    (step,) = re.findall(r"^>>> \D*(\d+)", text, re.MULTILINE)
    correction = {"analysis": "", "action": "push right", "reward": -0.5}
    return json.dumps({"corrections": [{"episode": episode, "step": step, **correction}]})


def test_a_model_finds_and_corrects_and_is_asked_once(tmp_path):
    tables = []
    for _ in range(2):
        llm = ScriptedLLM(answer, cache=tmp_path / "answers.sqlite")
        model = PPO("MlpPolicy", cart_pole(), seed=0, **SMALL)
        refinement = refine(
            model, cart_pole(), steps=32, episodes=1, per_episode=1, seed=0, llm=llm
        )
        tables.append((refinement.critical_states.actions.tolist(), llm.usage.total.calls))
    assert tables == [([1], 2), ([1], 0)]


def test_nothing_found_is_said_and_nothing_is_trained(ppo):
    before = parameters(ppo)
    llm = ScriptedLLM(lambda request: json.dumps({"case_analysis": "", "states": []}))
    with pytest.raises(AuthoringError, match="no critical state was found in 1 episodes"):
        refine(ppo, cart_pole(), steps=32, episodes=1, llm=llm)
    assert all((one == two).all() for one, two in zip(before, parameters(ppo), strict=True))


# --- what cannot work, said before anything is played ---


class Untouchable(gym.Wrapper):
    def step(self, action):
        raise AssertionError("played")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected somebody who finds and corrects"),
        ({"selector": "random"}, "expected somebody who finds and corrects"),
        ({**BY_HAND, "steps": 0}, "steps must be a whole number"),
        ({**BY_HAND, "episodes": 2.5}, "episodes must be a whole number"),
        ({**BY_HAND, "per_episode": True}, "per_episode must be a whole number"),
        ({**BY_HAND, "override": {"mode": "X"}}, "mode must be one of"),
        ({**BY_HAND, "selector": "nobody"}, "nobody"),
        ({**BY_HAND, "trainer": "nobody"}, "expected one of sb3; got 'nobody' as a trainer"),
        ({**BY_HAND, "trainer": "sb3:fast"}, "got 'sb3:fast'"),
        ({**BY_HAND, "trainer": 3}, "expected a trainer"),
    ],
)
def test_wrong_options(ppo, options, message):
    with pytest.raises(ValueError, match=message):
        refine(ppo, Untouchable(cart_pole()), **{"steps": 32, **options})


def test_another_number_of_environments(ppo):
    with pytest.raises(IncompatibleEnvironmentError, match="in 1 environments at once, got 2"):
        refine(ppo, cart_poles(2), steps=32, **BY_HAND)


def test_another_environment(ppo):
    with pytest.raises(ValueError, match="spaces do not match"):
        refine(ppo, gym.make("MountainCar-v0"), steps=32, **BY_HAND)


def test_interrupted_training_gives_the_model_its_environment_back(ppo):
    class Interrupt(BaseCallback):
        def _on_step(self):
            signal.raise_signal(signal.SIGINT)
            return True

    own = ppo.get_env()
    with pytest.raises(KeyboardInterrupt):
        refine(ppo, cart_pole(), steps=32, episodes=1, callback=Interrupt(), **BY_HAND)
    assert ppo.get_env() is own
    ppo.learn(32)


def test_a_loaded_policy_without_an_environment(ppo, tmp_path):
    ppo.save(tmp_path / "model.zip")
    model = PPO.load(tmp_path / "model.zip", device="cpu")
    refine(model, cart_pole(), steps=32, episodes=1, seed=0, **BY_HAND)
    assert model.num_timesteps == 32


class ByHand:
    """A trainer without a library, for a "model" that is the action it always takes."""

    def logged(self, env):
        return env

    def check(self, model, env):
        assert env.action_space.contains(model)

    def record(self, model, env, *, episodes, seed, **options):
        recorder = TrajectoryRecorder(env)
        for episode in range(episodes):
            self.train(model, recorder, steps=12, executed=False, seed=seed + episode)
        return recorder.trajectories()

    def train(self, model, env, *, steps, executed, seed, **options):
        env.reset(seed=seed)
        for _ in range(steps):
            if any(env.step(model)[2:4]):
                env.reset()


def test_any_other_trainer_takes_the_same_way():
    refinement = refine(0, cart_pole(), steps=20, episodes=2, seed=0, trainer=ByHand(), **BY_HAND)
    assert isinstance(ByHand(), ultra.Trainer)
    assert refinement.stats["steps"] == 20
    assert len(refinement.critical_states) > 0
