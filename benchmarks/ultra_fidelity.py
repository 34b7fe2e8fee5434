"""How faithful selectors of critical states are: `python benchmarks/ultra_fidelity.py`.

A PPO policy is trained on CartPole-v1 until it is good but not perfect. Selectors look at its
episodes, and the fidelity score of StateMask and RICE says by how much the return changes where the
steps that they find important are replaced with random ones: log(d / d_max) - log(l / L), higher is
better. No language model is asked; ``--llm`` adds one. All settings are ours.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from typing import Any

import gymnasium as gym
from stable_baselines3 import PPO

from llm_wrappers.guidance.critical.finding import Selector
from llm_wrappers.methods.ultra import resolve_guides
from llm_wrappers.sb3 import fidelity_scores, seeded_trajectories
from llm_wrappers.scores import bootstrap_interval, format_table, interquartile_mean
from llm_wrappers.trajectories.trajectory import Trajectory

ENV_ID = "CartPole-v1"
SHARES = (0.1, 0.2, 0.3, 0.4)
SELECTORS = ("random", "return-drop", "value-gap", "state-mask:{steps}")


def selectors(model: PPO, seed: int, options: argparse.Namespace) -> dict[str, Selector]:
    """Return what is compared, by name."""
    names = [name.format(steps=options.mask_steps) for name in SELECTORS]
    names += [options.llm] if options.llm else []
    return {
        name: resolve_guides(
            gym.make(ENV_ID), selector=name, corrector="reference", model=model, seed=seed
        )[0]
        for name in names
    }


def measure(seed: int, options: argparse.Namespace) -> dict[str, list[float]]:
    """Train one policy, and return the scores of all selectors at each share."""
    model = PPO("MlpPolicy", gym.make(ENV_ID), n_steps=512, seed=seed, device="cpu")
    model.learn(options.steps)
    env = gym.make(ENV_ID)
    seeds = range(1000 * seed, 1000 * seed + options.episodes)
    episodes: list[Trajectory] = seeded_trajectories(model, env, seeds=seeds)
    return {
        name: [
            score.score
            for score in fidelity_scores(
                selector,
                model,
                env,
                episodes,
                shares=SHARES,
                repeats=options.repeats,
                seed=seed,
            )
        ]
        for name, selector in selectors(model, seed, options).items()
    }


def table(found: list[dict[str, list[float]]]) -> str:
    """Return one row for each selector: scores over the policies."""
    rows: list[dict[str, Any]] = []
    for name in found[0]:
        row: dict[str, Any] = {"selector": name}
        for place, share in enumerate(SHARES):
            values = [scores[name][place] for scores in found]
            low, high = bootstrap_interval(values)
            row[f"{share:.0%}"] = f"{interquartile_mean(values):.2f} ({low:.2f} to {high:.2f})"
        rows.append(row)
    return format_table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_240, help="training of the policy")
    parser.add_argument("--mask-steps", type=int, default=10_000, help="of the mask network")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5, help="replays of each episode")
    parser.add_argument("--seeds", type=int, default=5, help="policies")
    parser.add_argument("--llm", default=None, help="also a model: llm:MODEL?cache=FILE")
    options = parser.parse_args()
    found = []
    for seed in range(options.seeds):
        found.append(measure(seed, options))
        print(f"policy {seed}: {found[-1]}", flush=True)
    print(
        f"\n{ENV_ID}, PPO of {options.steps:,} steps, {options.seeds} policies, {options.episodes} "
        f"episodes of each, {options.repeats} replays: fidelity score by share of the episode, "
        "higher is better; interquartile mean (95 % bootstrap interval)\n"
    )
    print(table(found))


if __name__ == "__main__":
    main()
