"""SGRL on MiniGrid DoorKey: the same agent with and without guidance, offline.

Run it with ``python examples/sgrl_minigrid.py``; ``--help`` lists the options. It needs the extra
``minigrid``. Goals and masks come from the reference guidance that ships with llm_wrappers,
written by hand: no language model is asked.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)
import numpy as np
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

import llm_wrappers as lw
from llm_wrappers.sb3 import (
    EpisodeLogCallback,
    GridExtractor,
    GuidanceCallback,
    ProgressBarCallback,
)
from llm_wrappers.scores import format_table, read_episodes

# The options of `sgrl.wrap`; None for the plain environment.
ARMS = {"ppo": None, "goals": {"masks": "none"}, "masks": {}, "sgrl": {}}
SHOW_GOAL, MASKED = ("goals", "sgrl"), ("masks", "sgrl")
KINDS = tuple(map(len, (OBJECT_TO_IDX, COLOR_TO_IDX, STATE_TO_IDX)))


class Symbols(gym.ObservationWrapper):
    """The view as flat one-hot symbols with the direction, and the goal where it is shown.

    It stands outside of the guidance, which reads the view, and leaves out the mission, a text.
    """

    def __init__(self, env: gym.Env, *, show_goal: bool) -> None:
        super().__init__(env)
        cells = env.observation_space["image"].shape[0] ** 2
        parts = {"obs": gym.spaces.Box(0.0, 1.0, (cells * sum(KINDS) + 4,), np.float32)}
        if show_goal:
            parts["goal"] = env.observation_space["goal"]
        self.observation_space = gym.spaces.Dict(parts)

    def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
        """Return what the policy is given."""
        channels = np.moveaxis(observation["image"], -1, 0)
        view = [np.eye(n, dtype=np.float32)[part] for n, part in zip(KINDS, channels, strict=True)]
        compass = np.eye(4, dtype=np.float32)[observation["direction"]]
        flat = np.concatenate([np.concatenate(view, axis=-1).ravel(), compass])
        shown = {"obs": flat, "goal": observation.get("goal")}
        return {key: shown[key] for key in self.observation_space.spaces}


def make_env(env_id: str, arm: str) -> gym.Env:
    env = gym.make(env_id, disable_env_checker=True)
    options = ARMS[arm]
    env = env if options is None else lw.methods.sgrl.wrap(env, **options)
    return Symbols(env, show_goal=arm in SHOW_GOAL)


def train(arm: str, options: argparse.Namespace) -> dict[str, object]:
    folder = options.out / arm / f"seed-{options.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stats.jsonl").write_text("")
    envs = make_vec_env(lambda: make_env(options.env, arm), options.num_envs, options.seed)
    model = (MaskablePPO if arm in MASKED else PPO)(
        "MultiInputPolicy",
        envs,
        seed=options.seed,
        n_steps=128,
        batch_size=256,
        n_epochs=4,
        learning_rate=1e-3,
        gamma=0.99,
        gae_lambda=0.95,
        ent_coef=0.01,
        policy_kwargs={
            "net_arch": [64, 64],
            "features_extractor_class": GridExtractor,
            "features_extractor_kwargs": {"grid": (7, 7, sum(KINDS)), "heads": 4},
        },
        device="cpu",
    )
    log = EpisodeLogCallback(folder / "stats.jsonl")
    bar = ProgressBarCallback(arm, log)
    model.learn(options.steps, callback=[log, GuidanceCallback(), bar])
    model.save(folder / "model.zip")
    episodes = read_episodes(folder / "stats.jsonl")
    successes = [e["reward"] > 0 for e in episodes]
    return {
        "arm": arm,
        "episodes": len(episodes),
        "success, whole training": np.mean(successes) if successes else 0.0,
        "success, last 100": np.mean(successes[-100:]) if successes else 0.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="MiniGrid-DoorKey-8x8-v0")
    parser.add_argument("--arms", nargs="+", default=["ppo", "sgrl"], choices=list(ARMS))
    parser.add_argument("--steps", type=int, default=200_000, help="environment steps per arm")
    parser.add_argument("--num-envs", type=int, default=8, help="environments stepped together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/example-minigrid"))
    options = parser.parse_args()
    rows = [train(arm, options) for arm in options.arms]
    print(f"\n{options.env}, seed {options.seed}\n\n{format_table(rows)}")


if __name__ == "__main__":
    main()
