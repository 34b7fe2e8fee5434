"""ELLM: pretrain an agent without reward, by what is suggested to it; then fine-tune it. Offline.

Run it with ``python examples/ellm_craftax.py``; ``--help`` lists the options. By default
suggestions come from the reference guidance that ships with llm_wrappers, written by hand: no
language model is asked unless ``--suggester llm:MODEL?cache=FILE`` names one. An agent that learns
from scratch is the control; it plays as many steps as both phases together.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3 import DQN, PPO

import llm_wrappers as lw
from llm_wrappers.sb3 import EpisodeLogCallback, GridExtractor, GuidedDQN, as_vec_env
from llm_wrappers.scores import format_table, read_episodes

CRAFTAX, ELLM_CRAFTER = "llm_wrappers/CraftaxClassic-v1", "llm_wrappers/EllmCrafter-v1"
PPO_OPTIONS = {
    "n_steps": 32, "batch_size": 64, "n_epochs": 4, "learning_rate": 6e-4, "gamma": 0.97,
    "gae_lambda": 0.8, "ent_coef": 0.01,
}  # fmt: skip
DQN_OPTIONS = {"buffer_size": 20_000, "learning_starts": 500, "gradient_steps": 8}


def make_envs(options: argparse.Namespace, *, pretraining: bool) -> Any:
    if options.task is None:
        envs = gym.make_vec(CRAFTAX, num_envs=options.num_envs)
    else:
        # ELLM's own game, seen as pictures, where a single deed can be the task.
        envs = gym.make_vec(
            ELLM_CRAFTER,
            num_envs=options.num_envs,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP},
            task=None if pretraining else options.task,
        )
    if pretraining:
        envs = lw.methods.ellm.wrap(envs, options.suggester, reward_free=True)
    return as_vec_env(envs)


def make_model(algorithm: Any, envs: Any, options: argparse.Namespace, **more: Any) -> Any:
    symbolic = len(envs.observation_space.shape) == 1
    network = {"net_arch": [128, 128]}
    if symbolic:
        network["features_extractor_class"] = GridExtractor
    settings = PPO_OPTIONS if algorithm is PPO else DQN_OPTIONS
    settings = {**settings, "seed": options.seed, "policy_kwargs": network, "device": "cpu"}
    return algorithm("MlpPolicy" if symbolic else "CnnPolicy", envs, **settings, **more)


def train(model: Any, steps: int, name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    folder = options.out / options.algorithm / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stats.jsonl").write_text("")
    model.learn(steps, callback=EpisodeLogCallback(folder / "stats.jsonl"))
    model.save(folder / "model.zip")
    model.get_env().close()
    return read_episodes(folder / "stats.jsonl")


def row(phase: str, learns_from: str, episodes: list[dict[str, Any]]) -> dict[str, object]:
    unlocked = [sum(e[k] > 0 for k in e if k.startswith("achievement_")) for e in episodes]
    return {
        "phase": phase,
        "learns from": learns_from,
        "episodes": len(episodes),
        "achievements/episode": sum(unlocked) / max(len(unlocked), 1),
        "reward of the environment": sum(e["reward"] for e in episodes) / max(len(episodes), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200_000, help="of each of the two phases")
    parser.add_argument("--num-envs", type=int, default=64, help="environments stepped together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--algorithm", choices=("ppo", "dqn"), default="ppo")
    parser.add_argument("--suggester", help="oracle, uniform:5, llm:MODEL?cache=FILE, ...")
    parser.add_argument("--task", help="a deed of ELLM's Crafter to fine-tune on: 'chop tree'")
    parser.add_argument("--out", type=Path, default=Path("runs/ellm"))
    options = parser.parse_args()
    options.suggester = options.suggester or (
        "novelty" if options.task else "reference:craftax-classic"
    )
    ppo = options.algorithm == "ppo"
    suggested = f"suggestions ({options.suggester})"
    task = f"the task: {options.task}" if options.task else "the environment's reward"

    agent = make_model(PPO if ppo else DQN, make_envs(options, pretraining=True), options)
    rows = [row("pretraining", suggested, train(agent, options.steps, "pretraining", options))]
    envs = make_envs(options, pretraining=False)
    if ppo:
        agent.set_env(envs)
        learns_from = task
    else:
        # As in the paper: a fresh agent, half of whose random actions are the pretrained one's.
        agent = make_model(GuidedDQN, envs, options, guide=agent)
        learns_from = f"{task}, exploring with the pretrained policy"
    rows.append(row("fine-tuning", learns_from, train(agent, options.steps, "tuned", options)))

    control = make_model(PPO if ppo else DQN, make_envs(options, pretraining=False), options)
    episodes = train(control, 2 * options.steps, "scratch", options)
    for phase, late in (("from scratch, first half", False), ("from scratch, second half", True)):
        half = [e for e in episodes if (e["env_steps"] > options.steps) == late]
        rows.append(row(phase, task, half))
    env_id = ELLM_CRAFTER if options.task else CRAFTAX
    print(f"{env_id}, {options.algorithm}, seed {options.seed}, {options.steps:,} steps a phase\n")
    print(format_table(rows))


if __name__ == "__main__":
    main()
