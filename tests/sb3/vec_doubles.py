"""Environments for tests of the bridge: infos of every kind, buffers of their own, one mask."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

MODES = [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED]


class ToyEnv(gym.Env[dict[str, Any], int]):
    """Dict observations, episodes of random length that end both ways, infos of every kind."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - as in Gymnasium

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Dict(
            image=gym.spaces.Box(0, 255, (3, 3), np.uint8),
            state=gym.spaces.Box(-10, 10, (2,), np.float32),
        )
        self.action_space = gym.spaces.Discrete(3)
        self.weight = 1.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        self.length = int(self.np_random.integers(2, 9))
        self.start = (options or {}).get("start", 0.0)
        return self._observation(), {"drawn": self.length, "reset_only": "hello"}

    def step(self, action: int) -> Any:
        self.steps += 1
        over = self.steps >= self.length
        info: dict[str, Any] = {
            "steps": self.steps,
            "drawn": self.length,
            "goal": f"goal {action}",
            "inventory": {"wood": self.steps, "tools": {"axe": bool(action)}},
            "map": np.full((2, 2), self.steps),
            "tags": ["a", self.steps],
            "nothing": None,
        }
        if action == 2:
            info["rare"] = np.float32(0.5)
        return self._observation(), self.weight * action, over and action == 1, over, info

    def action_masks(self) -> np.ndarray[Any, Any]:
        return np.array([self.steps % 2 == 0, True, True])

    def set_weight(self, weight: float) -> str:
        self.weight = weight
        return f"weight {weight}"

    def render(self) -> Any:
        return np.full((4, 4, 3), self.steps, np.uint8)

    def _observation(self) -> dict[str, Any]:
        return {
            "image": self.np_random.integers(0, 256, (3, 3), np.uint8),
            "state": np.array([self.start, self.steps], np.float32),
        }


class NativeEnv(VectorEnv):
    """A NEXT_STEP environment with one vectorised step, which may or may not know `reset_mask`.

    It hands out its own buffers, as fast environments do.
    """

    def __init__(self, num_envs: int, *, honours_mask: bool) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs = num_envs
        self.honours_mask = honours_mask
        self.single_observation_space = gym.spaces.Box(0, 1e6, (1,), np.float32)
        self.single_action_space = gym.spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.gravity = 9.8

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        mask = (options or {}).get("reset_mask") if self.honours_mask else None
        if mask is None:
            self.steps = np.zeros(self.num_envs)
            self.done = np.zeros(self.num_envs, bool)
        else:
            self.steps[mask] = 0
            self.done[mask] = False
            self.rewards[mask] = 0
        return self.steps[:, None].astype(np.float32), {}

    def step(self, actions: Any) -> Any:
        assert not self.done.any(), "the bridge resets what is done"
        self.steps = self.steps + 1
        self.done = self.steps >= 3 + np.arange(self.num_envs)
        self.rewards = np.ones(self.num_envs)
        nothing = np.zeros(self.num_envs, bool)
        return self.steps[:, None].astype(np.float32), self.rewards, nothing, self.done, {}


class Masker(VectorWrapper):
    """Forbids action 0 to every sub-environment, and holds a tunable of all of them."""

    batched_methods = frozenset({"action_masks", "wrong_size"})

    def __init__(self, env: VectorEnv) -> None:
        super().__init__(env)
        self.progress = 0.0
        self.calls = 0

    def action_masks(self) -> np.ndarray[Any, Any]:
        masks = np.ones((self.num_envs, int(self.single_action_space.n)), bool)
        masks[:, 0] = False
        return masks

    def wrong_size(self) -> list[int]:
        return [1]

    def set_progress(self, progress: float) -> float:
        self.calls += 1
        self.progress = progress
        return progress


def make_cartpole() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1", max_episode_steps=20)


def make_toy() -> gym.Env[Any, Any]:
    return ToyEnv()


def pop_episodes(infos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take out what the bridge says of finished episodes, and `DummyVecEnv` does not."""
    return [info.pop("episode") for info in infos if "episode" in info]
