"""ULTRA on CartPole: a half-trained PPO, trained on with and without corrected critical states.

Run it with ``python examples/ultra_cartpole.py``; ``--help`` lists the options. By default critical
steps are those where the return drops, and the reference rule that ships with llm_wrappers, written
by hand, corrects them: no language model is asked. A model finds and corrects them with
``--llm "llm:openai/gpt-5-mini?cache=answers.sqlite"``: one question for each recorded episode, and
one for each critical step in it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import llm_wrappers as lw
from llm_wrappers.sb3 import EpisodeLogCallback
from llm_wrappers.scores import format_table

ENV_ID = "CartPole-v1"
HISTORY = 10  # episodes


def new_log(folder: Path) -> EpisodeLogCallback:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stats.jsonl").write_text("")
    return EpisodeLogCallback(folder / "stats.jsonl")


def evaluate(model: PPO, seed: int, episodes: int) -> float:
    """Return what a policy earns without any advice."""
    test = Monitor(gym.make(ENV_ID))
    test.reset(seed=10_000 + seed)
    mean, _ = evaluate_policy(model, test, n_eval_episodes=episodes, deterministic=True)
    return float(mean)


def refine(arm: str, model: PPO, seed: int, options: argparse.Namespace) -> None:
    """Train a policy on: as it is, or with what ULTRA finds in its history."""
    folder = options.out / arm / f"seed-{seed}"
    log = new_log(folder)
    if arm == "ppo":
        model.learn(options.steps, callback=log, reset_num_timesteps=False)
        return
    by_hand = {"selector": "return-drop", "corrector": "reference"}
    refinement = lw.methods.ultra.refine(
        model,
        gym.make(ENV_ID),
        steps=options.steps,
        episodes=HISTORY,
        per_episode=options.per_episode,
        folder=folder,
        seed=seed,
        callback=log,
        **({"llm": options.llm} if options.llm else by_hand),
    )
    print(f"\nseed {seed}\n{refinement}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llm", default=None, help="llm:MODEL?OPTIONS finds and corrects")
    parser.add_argument("--pretraining", type=int, default=8_192, help="steps before")
    parser.add_argument("--steps", type=int, default=8_192, help="steps of training on")
    parser.add_argument("--per-episode", type=int, default=10, help="critical states in each")
    parser.add_argument("--seeds", type=int, default=3, help="policies")
    parser.add_argument("--episodes", type=int, default=20, help="episodes of evaluation")
    parser.add_argument("--out", type=Path, default=Path("runs/example-ultra"))
    options = parser.parse_args()
    if min(options.seeds, options.steps, options.pretraining, options.episodes) < 1:
        parser.error("--seeds, --steps, --pretraining and --episodes must be at least 1")
    returns: dict[str, list[float]] = {"before": [], "ppo": [], "ultra": []}
    for seed in range(options.seeds):
        folder = options.out / "before" / f"seed-{seed}"
        model = PPO("MlpPolicy", gym.make(ENV_ID), n_steps=512, seed=seed, device="cpu")
        model.learn(options.pretraining, callback=new_log(folder))
        model.save(folder / "model.zip")
        returns["before"].append(evaluate(model, seed, options.episodes))
        for arm in ("ppo", "ultra"):
            model = PPO.load(folder / "model.zip", env=gym.make(ENV_ID), device="cpu")
            refine(arm, model, seed, options)
            model.save(options.out / arm / f"seed-{seed}" / "model.zip")
            returns[arm].append(evaluate(model, seed, options.episodes))
    corrected = "a language model" if options.llm else "a rule written by hand"
    guidance = {"before": "-", "ppo": "-", "ultra": corrected}
    rows = [
        {
            "arm": arm,
            "corrected by": guidance[arm],
            "return": np.mean(values),
            "standard deviation": np.std(values),
            "seeds": len(values),
        }
        for arm, values in returns.items()
    ]
    print(f"\n{ENV_ID}, {options.steps} steps more; evaluated without advice, 500 is the most\n")
    print(format_table(rows))


if __name__ == "__main__":
    main()
