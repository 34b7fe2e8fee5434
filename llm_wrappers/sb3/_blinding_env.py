"""The environment of a mask network: each step, keep the policy's action or do anything."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import gymnasium as gym

from llm_wrappers.sb3._frozen_model import FrozenModel, random_action

__all__ = ["BLINDED", "KEPT", "BlindingEnv"]

KEPT, BLINDED = 0, 1


class BlindingEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Lets an agent replace the actions of a trained policy by random ones (RICE, StateMask).

    Action 0 executes what the policy does, action 1 a random action; the latter pays `alpha` more.
    Observations are as the policy sees them. The reward is the extrinsic one, whatever wrappers
    below add to it.

    Args:
        env: The environment of the policy.
        policy: The trained policy.
        alpha: What is paid for each step that is blinded.
        deterministic: Whether the policy takes its most likely action.
        seed: Of the random actions.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        policy: FrozenModel,
        *,
        alpha: float,
        deterministic: bool,
        seed: int,
    ) -> None:
        super().__init__(env)
        self._policy, self._alpha, self._deterministic = policy, alpha, deterministic
        self._random_space = deepcopy(env.action_space)
        self._random_space.seed(seed)
        self.action_space = gym.spaces.Discrete(2)
        if policy.normalizer is not None:
            self.observation_space = policy.normalizer.observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        return self._policy.normalized(self._observation), info

    def step(self, action: Any) -> Any:
        """Execute the action of the policy, or a random one."""
        masks = self._policy.masks(self.env)
        blinded = int(action) == BLINDED
        if blinded:
            executed = random_action(self._random_space, masks)
        else:
            executed = self._policy.action(
                self._observation, deterministic=self._deterministic, masks=masks
            )
        self._observation, reward, *ends, info = self.env.step(executed)
        paid = float(info.get("extrinsic_reward", reward)) + self._alpha * blinded
        return self._policy.normalized(self._observation), paid, *ends, info
