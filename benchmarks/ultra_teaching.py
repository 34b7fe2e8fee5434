"""What a policy learns from advice that is executed for it: `python benchmarks/ultra_teaching.py`.

A toy on purpose: four contexts, of which two are critical, two actions, episodes of eight steps,
+1 for the right action and -1 for the wrong one. PPO first learns the wrong action in the critical
contexts, and is then fine-tuned on the true reward with each way of giving the advice of ULTRA
(arXiv 2505.20671). The figure is the probability of the advised action in the critical contexts,
with the wrapper taken off: whether the policy itself knows it. A rollout is 512 steps, of eight
environments side by side. All hyper-parameters are ours.
"""

from __future__ import annotations

import argparse
import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.sb3 import GuidanceCallback
from llm_wrappers.sb3.relabel_callback import RelabelCallback
from llm_wrappers.scores import format_table, interquartile_mean
from llm_wrappers.wrappers import CriticalStateOverrideWrapper

CONTEXTS, EPISODE = 4, 8
RIGHT = (0, 1, 0, 1)
CRITICAL = (1, 2)
PRETRAINING, FINE_TUNING = 4096, 16_384
NUM_ENVS = 8
PPO_OPTIONS: dict[str, Any] = {
    "learning_rate": 1e-3, "n_steps": 512 // NUM_ENVS, "n_epochs": 5, "batch_size": 64,
    "device": "cpu",
}  # fmt: skip

EXECUTE = {"mode": "A", "probability": 1.0}
AGREE = {"mode": "RA", "reward": "agreement", "probability": 1.0}
ARMS: dict[str, tuple[Mapping[str, Any] | None, bool]] = {
    "plain PPO": (None, False),
    "execute, p = 1": (EXECUTE, False),
    "execute, p = 0.5": ({**EXECUTE, "probability": 0.5}, False),
    "execute, p from 1 to 0": (
        {**EXECUTE, "probability": {"kind": "linear", "start": 1.0, "end": 0.0}},
        False,
    ),
    "agreement reward only": ({"mode": "R", "reward": "agreement"}, False),
    "execute, p = 1, state reward": ({**AGREE, "reward": "state"}, False),
    "execute, p = 1, agreement reward": (AGREE, False),
    "execute, p = 0.5, agreement reward": ({**AGREE, "probability": 0.5}, False),
    "mask, p = 1": ({**EXECUTE, "advice": "mask"}, False),
    "execute, p = 1, relabelled": (EXECUTE, True),
    "execute, p = 1, agreement reward, relabelled": (AGREE, True),
}
"""Name of an arm -> options of the wrapper, None for no wrapper, and whether to relabel."""


class Contexts(gym.Env[Any, Any]):
    """A bandit with four contexts, shown as one-hot vectors.

    Args:
        wrong: Whether the wrong action is rewarded in the critical contexts.
    """

    observation_space = gym.spaces.Box(0.0, 1.0, (CONTEXTS,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, *, wrong: bool = False) -> None:
        self._wrong = wrong
        self._context = 0
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in a random context."""
        super().reset(seed=seed)
        self._steps = 0
        return self._draw(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Pay for the action and show another random context."""
        right = int(action) == RIGHT[self._context]
        if self._wrong and self._context in CRITICAL:
            right = not right
        self._steps += 1
        return self._draw(), 1.0 if right else -1.0, self._steps >= EPISODE, False, {}

    def _draw(self) -> Any:
        self._context = int(self.np_random.integers(CONTEXTS))
        return np.eye(CONTEXTS, dtype=np.float32)[self._context]


def advice() -> CriticalStates:
    """Return the right action of each critical context."""
    one_hot = np.eye(CONTEXTS, dtype=np.float32)
    return CriticalStates(
        [CriticalState(one_hot[context], RIGHT[context]) for context in CRITICAL], key="exact"
    )


def advised_probability(model: PPO | MaskablePPO) -> float:
    """Return the mean probability of the advised action in the critical contexts."""
    observations = torch.eye(CONTEXTS)[list(CRITICAL)]
    with torch.no_grad():
        found: Any = model.policy.get_distribution(observations).distribution
    probabilities = found.probs
    return float(np.mean([probabilities[i, RIGHT[c]].item() for i, c in enumerate(CRITICAL)]))


def pretrain(seed: int, steps: int = PRETRAINING) -> PPO:
    """Return a policy that learnt the wrong action in the critical contexts."""
    envs = DummyVecEnv([lambda: Contexts(wrong=True)] * NUM_ENVS)
    return PPO("MlpPolicy", envs, seed=seed, **PPO_OPTIONS).learn(steps)


def fine_tune(pretrained: PPO, arm: str, seed: int, steps: int = FINE_TUNING) -> PPO | MaskablePPO:
    """Return the policy after training on the true reward, guided as the arm says."""
    options, relabels = ARMS[arm]
    kind: Any = MaskablePPO if "mask" in arm else PPO
    envs = DummyVecEnv([lambda: _guided(options)] * NUM_ENVS)
    model = kind("MlpPolicy", envs, seed=seed, **PPO_OPTIONS)
    # The optimiser goes on too, as in a saved model; loading it shares tensors, hence the copy.
    model.set_parameters(deepcopy(pretrained.get_parameters()))
    callbacks = [GuidanceCallback(), *([RelabelCallback()] if relabels else [])]
    model.learn(steps, callback=callbacks)
    return model  # type: ignore[no-any-return]


def _guided(options: Mapping[str, Any] | None) -> gym.Env[Any, Any]:
    if options is None:
        return Contexts()
    return CriticalStateOverrideWrapper(Contexts(), critical_states=advice(), **options)


def measure(arms: list[str], seeds: int, steps: int) -> dict[str, list[float]]:
    """Return the probability of the advised action after each arm, one number per seed."""
    found: dict[str, list[float]] = {"before": [], **{arm: [] for arm in arms}}
    for seed in range(seeds):
        pretrained = pretrain(seed)
        found["before"].append(advised_probability(pretrained))
        for arm in arms:
            found[arm].append(advised_probability(fine_tune(pretrained, arm, seed, steps)))
            print(f"seed {seed}  {arm}: {found[arm][-1]:.3f}", flush=True)
    return found


def table_of(found: Mapping[str, list[float]]) -> str:
    rows = [
        {
            "fine-tuning": arm,
            "P(advised), IQM": f"{interquartile_mean(values):.3f}",
            "lowest": f"{min(values):.3f}",
            "highest": f"{max(values):.3f}",
        }
        for arm, values in found.items()
    ]
    return format_table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=FINE_TUNING)
    parser.add_argument("--arms", nargs="*", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--out", type=Path, help="write the numbers to this JSON file")
    options = parser.parse_args()
    found = measure(options.arms, options.seeds, options.steps)
    print(table_of(found))
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
