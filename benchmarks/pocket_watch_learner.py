"""Tabular Q-learning of pocket watches, with the settings of RUDDER's public demonstration."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

ENV_ID = "llm_wrappers/PocketWatch-v0"
BEST = (1, 0, 0, 1)
"""The best first action for each brand: repair (0) what gains on average, decline (1) the rest."""

LEARNING_RATE, EXPLORATION, OPTIMISM = 0.1, 0.1, 10.0
WINDOW, GOAL = 750, 0.95
_WAIT = 1


@dataclass(frozen=True)
class Learned:
    """How learning went.

    Args:
        episodes: After how many the task was solved, or how many there were.
        solved: Whether 95 % of the last 750 first decisions were right.
        right: The share of right ones among the last 750.
    """

    episodes: int
    solved: bool
    right: float


def learn(
    env: gym.Env[Any, Any],
    *,
    seed: int,
    most: int,
    progress: Callable[[float], None] = lambda share: None,
) -> Learned:
    """Learn until the demonstration's own criterion holds, for at most so many episodes.

    The criterion counts the decisions that were taken, exploration included: the best policy itself
    is right in 95 % of them, and it cannot hold before 750 episodes.
    """
    learner, seeds = _Learner(seed), seed
    decisions: deque[bool] = deque(maxlen=WINDOW)
    for episode in range(1, most + 1):
        progress((episode - 1) / most)
        brand, action = learner.episode(env, seeds)
        seeds = None
        decisions.append(action == BEST[brand])
        if len(decisions) == WINDOW and np.mean(decisions) >= GOAL:
            return Learned(episode, True, float(np.mean(decisions)))
    return Learned(most, False, float(np.mean(decisions)))


class _Learner:
    def __init__(self, seed: int, steps: int = 50) -> None:
        self._random = np.random.default_rng(seed)
        # Only the first decision is one; the demonstration lets every later action be "wait".
        self._first = np.full((4, 2), OPTIMISM)
        self._later = np.full((steps + 1, 2, steps + 1, steps + 1, 4), OPTIMISM)
        self._later[steps] = 0.0

    def episode(self, env: gym.Env[Any, Any], seed: int | None) -> tuple[int, int]:
        state, _ = env.reset(seed=seed)
        brand = int(state[3])
        decision = action = self._decide(brand)
        states, rewards, over = [], [], False
        while not over:
            state, reward, terminated, truncated, _ = env.step(action)
            states.append(state)
            rewards.append(reward)
            over, action = terminated or truncated, _WAIT
        self._update(brand, decision, np.array(states), np.array(rewards, float))
        return brand, decision

    def _decide(self, brand: int) -> int:
        low, high = self._first[brand]
        if low == high or self._random.random() < EXPLORATION:
            return int(self._random.integers(2))
        return int(high > low)

    def _update(self, brand: int, decision: int, states: Any, rewards: Any) -> None:
        repaired, small, large, brands, steps = states.T
        where = (steps, repaired, small, large, brands)
        values = self._later[where]
        self._first[brand, decision] += LEARNING_RATE * (
            rewards[0] + values[0] - self._first[brand, decision]
        )
        self._later[tuple(axis[:-1] for axis in where)] += LEARNING_RATE * (
            rewards[1:] + values[1:] - values[:-1]
        )
