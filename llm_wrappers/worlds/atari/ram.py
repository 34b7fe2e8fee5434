"""The memory of an Atari game in the info, beside whatever the agent sees."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.worlds.atari.captioner import AtariRamCaptioner, game_of

__all__ = ["AtariRam"]


class AtariRam(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds the memory of the console to the info, so that a game of pixels can be put into words.

    ``info["ram"]`` is the memory after the step, ``info["previous_ram"]`` that before it, both
    uint8 of shape (128,); at a reset both are the same. A step is one of this wrapper: put it
    outside of frame skipping, so that motion is counted from one decision to the next.

    For Pong, Pitfall and Montezuma's Revenge it has the attribute `captioner`, which every wrapper
    of this package finds by itself.

    Args:
        env: An environment of ale-py, which ``pip install "llm-wrappers[atari]"`` installs.

    Raises:
        IncompatibleEnvironmentError: If it is none.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        if not hasattr(getattr(env.unwrapped, "ale", None), "getRAM"):
            raise IncompatibleEnvironmentError(
                f"expected an Atari environment of ale-py, got {env.unwrapped}; make one such as "
                'gymnasium.make("ALE/Pong-v5")'
            )
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._captioner = _captioner_of(env)
        self._ram: NDArray[np.uint8] | None = None

    @property
    def captioner(self) -> Captioner | None:
        """How this game speaks; None for a game that cannot be read."""
        return self._captioner

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; there is no motion yet."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._ram = None
        return observation, self._informed(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment and read its memory."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, self._informed(info)

    def _informed(self, info: dict[str, Any]) -> dict[str, Any]:
        base: Any = self.env.unwrapped
        now = np.array(base.ale.getRAM(), np.uint8)
        before = now if self._ram is None else self._ram
        self._ram = now
        return {**info, "ram": now.copy(), "previous_ram": before.copy()}


def _captioner_of(env: gym.Env[Any, Any]) -> AtariRamCaptioner | None:
    env_id = env.unwrapped.spec.id if env.unwrapped.spec is not None else ""
    game = game_of(env_id)
    if not game or not isinstance(env.action_space, gym.spaces.Discrete):
        return None
    return AtariRamCaptioner(game, actions=int(env.action_space.n), env_id=env_id)
