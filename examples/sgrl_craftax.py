"""SGRL on Craftax-Classic: the same agent with and without guidance, offline.

Run it with ``python examples/sgrl_craftax.py``; ``--help`` lists the options. Goals and masks
come from the reference guidance that ships with llm_wrappers, written by hand: no language model is
asked.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO

import llm_wrappers as lw
from llm_wrappers.sb3 import (
    EpisodeLogCallback,
    GridExtractor,
    GuidanceCallback,
    ProgressBarCallback,
    as_vec_env,
)
from llm_wrappers.scores import format_table, official_score, read_episodes

ENV_ID = "llm_wrappers/CraftaxClassic-v1"


def make_unguided(num_envs: int) -> gym.vector.VectorEnv:
    return gym.make_vec(ENV_ID, num_envs=num_envs)


def make_guided(num_envs: int) -> gym.vector.VectorEnv:
    envs = gym.make_vec(ENV_ID, num_envs=num_envs)
    envs = lw.wrappers.vector.GoalObservationWrapper(
        envs, planner="reference:craftax-classic", selection="argmax", reselect="every_step"
    )
    return lw.wrappers.vector.ActionMaskWrapper(envs, masks="reference:craftax-classic")


def train(name: str, envs: gym.vector.VectorEnv, options: argparse.Namespace) -> dict[str, object]:
    folder = options.out / name / f"seed-{options.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stats.jsonl").unlink(missing_ok=True)
    algorithm, policy = (PPO, "MlpPolicy") if name == "ppo" else (MaskablePPO, "MultiInputPolicy")
    model = algorithm(
        policy,
        as_vec_env(envs),
        seed=options.seed,
        n_steps=32,
        batch_size=128,
        n_epochs=4,
        learning_rate=6e-4,
        gamma=0.97,
        gae_lambda=0.8,
        ent_coef=0.01,
        policy_kwargs={"net_arch": [128, 128], "features_extractor_class": GridExtractor},
        device="cpu",
    )
    log = EpisodeLogCallback(folder / "stats.jsonl")
    bar = ProgressBarCallback(name, log)
    try:
        model.learn(options.steps, callback=[log, GuidanceCallback(), bar])
    except KeyboardInterrupt:
        print("interrupted: reporting what was done")
    bar.close()
    log.close()
    model.save(folder / "model.zip")
    episodes = read_episodes(folder / "stats.jsonl")
    return {
        "arm": name,
        "steps": model.num_timesteps,
        "episodes": len(episodes),
        "Crafter score, all training episodes": official_score(episodes) if episodes else 0.0,
        "return": sum(e["reward"] for e in episodes) / max(len(episodes), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300_000, help="environment steps per arm")
    parser.add_argument("--num-envs", type=int, default=64, help="environments stepped together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/example"))
    options = parser.parse_args()
    rows = [
        train("ppo", make_unguided(options.num_envs), options),
        train("sgrl", make_guided(options.num_envs), options),
    ]
    print(f"\n{ENV_ID}, seed {options.seed}\n\n{format_table(rows)}")


if __name__ == "__main__":
    main()
