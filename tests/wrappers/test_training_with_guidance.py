"""A mask makes learnable in a few steps what is out of reach without, for unchanged algorithms."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate_masked
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from llm_wrappers.testing import ScriptedEnv, ScriptedPlanner
from llm_wrappers.wrappers import ActionBoundsWrapper, ActionMaskWrapper, GoalObservationWrapper

ROOMS, KEYS_PER_ROOM, STEPS = 4, 200, 1_024
LEAN = [f"lean {side}" for side in ("left", "right", "upright")]


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    # Small networks are slower on many threads, and other tests run beside this one.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def keys_env() -> ScriptedEnv:
    """Return an environment in which one of 800 keys opens the room that is shown, worth 1."""

    def observe(env: ScriptedEnv) -> Any:
        env.room = int(env.np_random.integers(ROOMS))  # type: ignore[attr-defined]
        return np.eye(ROOMS, dtype=np.float32)[env.room]  # type: ignore[attr-defined]

    def step(env: ScriptedEnv, action: Any) -> Any:
        fits = action == env.room * KEYS_PER_ROOM + 1  # type: ignore[attr-defined]
        return observe(env), float(fits), False, env.steps >= 16, {}

    return ScriptedEnv(
        gym.spaces.Box(0.0, 1.0, (ROOMS,), np.float32),
        gym.spaces.Discrete(ROOMS * KEYS_PER_ROOM),
        reset_func=lambda env, options: (observe(env), {}),
        step_func=step,
    )


def room(facts: Any) -> list[tuple[str, float]]:
    return [(f"open room {int(np.argmax([facts[f'obs_{i}'] for i in range(ROOMS)]))}", 1.0)]


def guided_keys() -> gym.Env[Any, Any]:
    """The guidance knows three keys for each room, and not which of them fits."""
    goals = [f"open room {number}" for number in range(ROOMS)]
    masks = {
        goal: [number * KEYS_PER_ROOM + key for key in range(3)]
        for number, goal in enumerate(goals)
    }
    env = GoalObservationWrapper(keys_env(), planner=ScriptedPlanner(room), goals=goals)
    return Monitor(ActionMaskWrapper(env, masks=masks))


OPTIONS: dict[str, Any] = {
    "n_steps": 64,
    "batch_size": 64,
    "learning_rate": 5e-3,
    "gamma": 0.0,
    "device": "cpu",
    "seed": 1,
}


@pytest.mark.slow
def test_maskable_ppo_learns_with_the_mask_what_ppo_does_not_without() -> None:
    masked = MaskablePPO("MultiInputPolicy", guided_keys(), **OPTIONS).learn(STEPS)
    with_mask, _ = evaluate_masked(masked, guided_keys(), n_eval_episodes=10)
    plain = PPO("MultiInputPolicy", guided_keys(), **OPTIONS).learn(STEPS)
    without, _ = evaluate_policy(plain, guided_keys(), n_eval_episodes=10)
    assert with_mask > 14
    assert without < 8


def cartpole(**options: Any) -> ActionMaskWrapper:
    env = GoalObservationWrapper(
        gym.make("CartPole-v1"),
        planner=lambda facts: [[(f"lean {row['pole_lean']}", 1.0)] for row in facts],
        goals=LEAN,
    )
    masks = {"lean left": ["push left"], "lean right": ["push right"]}
    return ActionMaskWrapper(env, masks=masks, **options)


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (PPO, {"n_steps": 64, "batch_size": 64}),
        (A2C, {}),
        (DQN, {"learning_starts": 50, "buffer_size": 500, "batch_size": 16}),
    ],
    ids=["PPO", "A2C", "DQN"],
)
def test_any_algorithm_runs_unchanged(algorithm: Any, options: dict[str, Any]) -> None:
    model = algorithm("MultiInputPolicy", cartpole(), device="cpu", seed=0, **options)
    model.learn(200)
    reward, _ = evaluate_policy(model, Monitor(cartpole()), n_eval_episodes=2)
    assert reward > 0


def test_sac_like_algorithms_train_within_bounds() -> None:
    def make() -> gym.Env[Any, Any]:
        env = GoalObservationWrapper(
            gym.make("Pendulum-v1"), planner=ScriptedPlanner([("brake", 1.0)]), goals=["brake"]
        )
        return ActionBoundsWrapper(env, bounds={"brake": (-1.0, 0.0)})

    envs = make_vec_env(make, n_envs=2, seed=0)
    PPO("MultiInputPolicy", envs, n_steps=64, batch_size=64, device="cpu", seed=0).learn(128)
    assert all(stats["clipped_actions"] > 0 for stats in envs.env_method("stats"))
