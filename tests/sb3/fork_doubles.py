"""A small environment in which one action decides everything, and a policy that knows it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3 import PPO

STEPS, FORK = 10, 4


class Fork(gym.Env[Any, Any]):
    """Ten steps, seen as one-hot numbers; only action 1 in the fifth pays, and it pays 10.

    With `noise` the reward is not repeatable; with `drift` the observation is not.
    """

    def __init__(self, *, noise: bool = False, drift: bool = False) -> None:
        self.observation_space = gym.spaces.Box(-9.0, 9.0, (STEPS + 1,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.noise, self.drift = noise, drift
        self.resets = 0
        self.executed: list[int] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.step_number = 0
        self.resets += 1
        self.executed = []
        return self.seen(), {}

    def step(self, action: Any) -> Any:
        self.executed.append(int(action))
        reward = 10.0 if self.step_number == FORK and action == 1 else 0.0
        reward += self.resets if self.noise else 0.0
        self.step_number += 1
        return self.seen(), reward, self.step_number == STEPS, False, {}

    def seen(self) -> Any:
        shown = np.eye(STEPS + 1, dtype=np.float32)[self.step_number]
        return shown + self.resets * 0.125 if self.drift else shown


def knowing_policy() -> PPO:
    """Return a policy that takes action 1 at the fork, and action 0 elsewhere."""
    model = PPO("MlpPolicy", Fork(), policy_kwargs={"net_arch": []}, seed=0, device="cpu")
    weights = th.zeros(2, STEPS + 1)
    weights[0], weights[1, FORK] = 1.0, 9.0
    model.policy.action_net.weight.data = weights
    model.policy.action_net.bias.data.zero_()
    return model
