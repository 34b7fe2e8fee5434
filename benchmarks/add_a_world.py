"""Whether the page "Add a world" keeps its promise: PPO against MaskablePPO with its guidance.

Run ``python benchmarks/add_a_world.py``: three seeds of both arms with equal steps and equal
hyper-parameters, about two minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import FlattenObservation
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from llm_wrappers import ActionMaskWrapper, GoalObservationWrapper
from llm_wrappers.scores import format_table

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import foraging

ARMS = ("ppo", "sgrl")


def make_env(arm: str) -> gym.Env:
    foraging.register()
    env = gym.make(foraging.ENV_ID)
    if arm == "sgrl":
        env = GoalObservationWrapper(env, planner="reference:foraging")
        env = ActionMaskWrapper(env, masks="reference:foraging")
    return FlattenObservation(env) if arm == "sgrl" else env


def train(arm: str, seed: int, steps: int) -> np.ndarray:
    """Return the berries of each episode of a training, in the order of their ends."""
    envs = make_vec_env(lambda: make_env(arm), n_envs=8, seed=seed)
    algorithm = MaskablePPO if arm == "sgrl" else PPO
    model = algorithm(
        "MlpPolicy", envs, n_steps=128, batch_size=256, n_epochs=4, learning_rate=1e-3,
        ent_coef=0.01, device="cpu", seed=seed,
    )  # fmt: skip
    model.learn(steps)
    ends = [
        (when, berries)
        for env in envs.envs
        for when, berries in zip(
            np.cumsum(env.get_episode_lengths()), env.get_episode_rewards(), strict=True
        )
    ]
    return np.array([berries for _, berries in sorted(ends)])


def compare(seeds: Sequence[int], steps: int) -> list[dict[str, object]]:
    """Return a row for each arm and seed: mean berries of all episodes, and of the last 100."""
    found = {(arm, seed): train(arm, seed, steps) for seed in seeds for arm in ARMS}
    return [
        {
            "arm": arm,
            "seed": seed,
            "episodes": len(berries),
            "berries, all episodes": round(float(berries.mean()), 2),
            "berries, last 100": round(float(berries[-100:].mean()), 2),
        }
        for (arm, seed), berries in sorted(found.items())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000, help="environment steps per training")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(format_table(compare(range(options.seeds), options.steps)))


if __name__ == "__main__":
    main()
