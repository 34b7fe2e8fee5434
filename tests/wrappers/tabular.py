"""Small Markov decision processes: as environments, and solved exactly."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers.captions.generic import GenericCaptioner


class Tabular(gym.Env):
    """A process with probabilities (s, a, s'), rewards (s, a, s') and terminal states."""

    def __init__(self, probabilities, rewards, terminal=(), *, start=0, length=None):
        states, actions = probabilities.shape[:2]
        self.observation_space = gym.spaces.Discrete(states)
        self.action_space = gym.spaces.Discrete(actions)
        self.probabilities, self.rewards = probabilities, rewards
        self.terminal, self.start, self.length = frozenset(terminal), start, length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.steps = self.start, 0
        return self.state, {}

    def step(self, action):
        old = self.state
        chances = self.probabilities[old, action]
        self.state = int(self.np_random.choice(len(chances), p=chances))
        self.steps += 1
        reward = float(self.rewards[old, action, self.state])
        return self.state, reward, self.state in self.terminal, self.steps == self.length, {}

    @property
    def captioner(self) -> Any:
        return GenericCaptioner(self.observation_space, self.action_space, env_id="Tabular")


def random_process(rng, *, states=8, actions=3):
    """Return probabilities and rewards; the last state is terminal."""
    probabilities = rng.dirichlet(np.full(states, 0.5), size=(states, actions))
    return probabilities, rng.normal(size=(states, actions, states))


def action_values(probabilities, rewards, terminal, gamma, *, sweeps=3000):
    """Return Q*, shape (states, actions), by value iteration."""
    going_on = np.array([state not in terminal for state in range(len(probabilities))])
    q = np.zeros(probabilities.shape[:2])
    for _ in range(sweeps):
        value = q.max(axis=1) * going_on
        updated = (probabilities * (rewards + gamma * value)).sum(axis=2)
        if np.abs(updated - q).max() < 1e-12:
            break
        q = updated
    return q


def best_actions(q, terminal):
    """Return the best action of each state that is not terminal."""
    return [int(row.argmax()) for state, row in enumerate(q) if state not in terminal]
