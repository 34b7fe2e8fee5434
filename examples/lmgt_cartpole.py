"""LMGT on CartPole: A2C with and without a judge of its actions, offline.

Run it with ``python examples/lmgt_cartpole.py``; ``--help`` lists the options. By default the judge
is the reference rule that ships with llm_wrappers, written by hand: no language model is asked. A
model judges with ``--judge "llm:openai/gpt-5-mini?cache=answers.sqlite&on_miss=block"``; it is
asked about each different state in words with each action, which may be thousands of questions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
from stable_baselines3 import A2C
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import llm_wrappers as lw
from llm_wrappers.sb3 import EpisodeLogCallback, GuidanceCallback
from llm_wrappers.scores import format_table

ENV_ID = "CartPole-v1"
LABELS = {"reference": "written by hand", "none": "no judgements", "random": "drawn at random"}


def make_env(judge: str | None, scale: float) -> gym.Env:
    """Return the environment, with shifted rewards if there is a judge.

    The monitor stands inside, so that what is logged is the environment's own reward.
    """
    env = Monitor(gym.make(ENV_ID))
    if judge is None:
        return env
    # The shift fades out: at last the agent learns from the environment's own reward alone.
    fading = {"kind": "linear", "start": 1.0, "end": 0.0}
    return lw.methods.lmgt.wrap(env, judge, scale=scale, schedule=fading)


def train(arm: str, judge: str | None, seed: int, options: argparse.Namespace) -> float:
    """Train an agent and return what it earns afterwards, without any judge."""
    folder = options.out / arm / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stats.jsonl").write_text("")
    env = make_env(judge, options.scale)
    model = A2C("MlpPolicy", env, seed=seed, device="cpu")
    log = EpisodeLogCallback(folder / "stats.jsonl")
    model.learn(options.steps, callback=[log, GuidanceCallback()])
    model.save(folder / "model.zip")
    if judge is not None:
        stats = env.get_wrapper_attr("stats")()
        asked = {name: stats[name] for name in ("good", "neutral", "bad", "unjudged")}
        print(f"{arm}, seed {seed}: judgements {asked}")
    test = Monitor(gym.make(ENV_ID))
    test.reset(seed=10_000 + seed)
    mean, _ = evaluate_policy(model, test, n_eval_episodes=options.episodes, deterministic=True)
    return float(mean)


def label(judge: str | None) -> str:
    if judge is None:
        return "-"
    kind = "language model" if judge.startswith("llm:") else LABELS.get(judge, "your choice")
    return f"{judge} ({kind})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--judge", default="reference", help="name of a judge; llm:MODEL?OPTIONS")
    parser.add_argument("--steps", type=int, default=10_000, help="environment steps per agent")
    parser.add_argument("--scale", type=float, default=1.0, help="what a judgement is worth")
    parser.add_argument("--seeds", type=int, default=5, help="agents per arm")
    parser.add_argument("--episodes", type=int, default=20, help="episodes after training")
    parser.add_argument("--out", type=Path, default=Path("runs/example-lmgt"))
    options = parser.parse_args()
    rows = []
    for arm, judge in (("a2c", None), ("lmgt", options.judge)):
        returns = [train(arm, judge, seed, options) for seed in range(options.seeds)]
        rows.append(
            {
                "arm": arm,
                "judge": label(judge),
                "return after training": np.mean(returns),
                "standard deviation": np.std(returns),
                "seeds": len(returns),
            }
        )
    print(f"\n{ENV_ID}, {options.steps} steps; evaluated without the judge, 500 is the most\n")
    print(format_table(rows))


if __name__ == "__main__":
    main()
