"""SlateQ for RecSim's interest evolution, with a table of values by topic.

SlateQ (Ie et al., 2019, arXiv 1905.12767) takes the value of a slate apart into values of single
documents, weighted by how likely the user watches each. Here the value of a document is that of its
topic, one number each and one for watching nothing; the user's choice model is taken as known, as
in the paper's simulations; and the best slate is found by trying all of them.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

ENV_ID = "llm_wrappers/RecSimInterestEvolution-v0"
GAMMA, RATE, EXPLORATION = 0.99, 0.1, 0.1

Observation = dict[str, NDArray[Any]]


class SlateLearner:
    """Q-learning of the values of topics.

    Args:
        topics: The number of topics.
        candidates: The number of documents to choose from.
        slate_size: The number of documents on a slate.
    """

    def __init__(self, topics: int = 20, candidates: int = 10, slate_size: int = 3) -> None:
        # The last value is that of watching nothing.
        self.values = np.zeros(topics + 1)
        self._slates = np.array(list(combinations(range(candidates), slate_size)))

    def best(self, observation: Observation) -> tuple[NDArray[np.int64], float]:
        """Return the slate of the highest value, and that value."""
        topics = observation["documents"].argmax(axis=1)
        # RecSim's users: watching nothing weighs 2, a document 1 and the interest in its topic.
        weights = 1.0 + observation["user"][topics].astype(float)
        worth = (weights * self.values[topics])[self._slates].sum(axis=1) + 2.0 * self.values[-1]
        slate_values = worth / (weights[self._slates].sum(axis=1) + 2.0)
        place = int(slate_values.argmax())
        return self._slates[place], float(slate_values[place])

    def any_slate(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Return a random slate."""
        slate: NDArray[np.int64] = self._slates[random.integers(len(self._slates))]
        return slate

    def learn(self, reward: float, after: Observation, over: bool) -> None:
        """Update the value of what was watched, or of watching nothing."""
        clicked = after["clicked"]
        topic = int(after["shown"][clicked.argmax()].argmax()) if clicked.any() else -1
        target = reward + (0.0 if over else GAMMA * self.best(after)[1])
        self.values[topic] += RATE * (target - self.values[topic])


def learn(env: gym.Env[Any, Any], *, episodes: int, seed: int) -> SlateLearner:
    """Train for some episodes, with the rewards of the environment as it is wrapped."""
    learner, random = SlateLearner(), np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    for _ in range(episodes):
        over = False
        while not over:
            explores = random.random() < EXPLORATION
            slate = learner.any_slate(random) if explores else learner.best(observation)[0]
            observation, reward, over, _, _ = env.step(slate)
            learner.learn(float(reward), observation, over)
        observation, _ = env.reset()
    return learner


def mean_return(learner: SlateLearner, *, episodes: int, seed: int) -> float:
    """Return the mean minutes watched per session, of the best slates and without a judge."""
    env, total = gym.make(ENV_ID), 0.0
    for episode in range(episodes):
        (observation, _), over = env.reset(seed=seed + episode), False
        while not over:
            observation, reward, over, _, _ = env.step(learner.best(observation)[0])
            total += float(reward)
    return total / episodes
