"""Craftax-Classic as a single Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError, require
from llm_wrappers.worlds.craftax.engine import OBSERVATIONS, Frame, unpack_infos
from llm_wrappers.worlds.craftax.worlds import Worlds
from llm_wrappers.worlds.crafter.crafter_family import ACTIONS, CrafterFamilyCaptioner

__all__ = ["CraftaxClassicEnv", "observation_space_of", "validate_options"]


class CraftaxClassicEnv(gym.Env[NDArray[Any], np.int64]):
    """Craftax-Classic under the Gymnasium API: Crafter's rules in JAX, with 22 achievements.

    Death is `terminated`, the time limit is `truncated`. The reward is the environment's own: 1
    for each achievement unlocked for the first time in the episode, and 0.1 per point of health
    won or lost.

    `info` has the same keys at reset and at each step: `achievements` (22 names, 1 once
    unlocked in this episode), `inventory` (16 names, vital signs included), `local_view` (7 rows
    and 9 columns of ids into `crafter_family.THINGS`, what the agent sees), `facing` (1 left,
    2 right, 3 up, 4 down), `sleeping` and `daylight`.

    For many environments at once use
    ``gym.make_vec("llm_wrappers/CraftaxClassic-v1", num_envs=64)``, which steps all of them in one
    compiled call and is far faster than many of these.

    Args:
        observation: ``"symbolic"`` for 1,345 floats in [0, 1], or ``"pixels"`` for uint8 pictures
            of shape (63, 63, 3).
        length: The number of steps after which an episode is truncated.
        render_mode: None or ``"rgb_array"``.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        DependencyNotInstalled: If craftax is not installed.

    >>> import gymnasium as gym, llm_wrappers
    >>> env = gym.make("llm_wrappers/CraftaxClassic-v1")
    >>> observation, info = env.reset(seed=0)
    >>> observation.shape, info["inventory"]["health"]
    ((1345,), 9)
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        *,
        observation: str = "symbolic",
        length: int = 10_000,
        render_mode: str | None = None,
    ) -> None:
        validate_options(observation, length, render_mode)
        self.observation_space = observation_space_of(observation)
        self.action_space = gym.spaces.Discrete(len(ACTIONS))
        self.render_mode = render_mode
        self.captioner = CrafterFamilyCaptioner("craftax-classic")
        self._worlds = Worlds(1, observation=observation, length=length)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Generate a new world."""
        super().reset(seed=seed, options=options)
        frame = self._worlds.start([self.np_random])
        return np.array(frame.observation[0]), single_info(frame)

    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Act for one step.

        Raises:
            ResetNeeded: If there was no reset before.
            InvalidOptionError: If the action is not in 0..16.
        """
        if not self._worlds.started:
            raise ResetNeeded("call reset() before step()")
        if not self.action_space.contains(action):
            raise InvalidOptionError(f"expected an action in 0..{len(ACTIONS) - 1}, got {action!r}")
        frame = self._worlds.step(np.array([action]))
        return (
            np.array(frame.observation[0]),
            float(frame.reward[0]),
            bool(frame.terminated[0]),
            bool(frame.truncated[0]),
            single_info(frame),
        )

    def render(self) -> NDArray[np.uint8] | None:
        """Return what the agent sees as an RGB picture, or None without a render mode.

        Raises:
            ResetNeeded: If there was no reset before.
        """
        if self.render_mode is None:
            gym.logger.warn('no render mode: build the environment with render_mode="rgb_array"')
            return None
        if not self._worlds.started:
            raise ResetNeeded("call reset() before render()")
        return self._worlds.picture(0)


def observation_space_of(observation: str) -> gym.spaces.Box:
    """Return the space of one symbolic or pixel observation."""
    if observation == "pixels":
        return gym.spaces.Box(0, 255, (63, 63, 3), np.uint8)
    return gym.spaces.Box(0.0, 1.0, (1345,), np.float32)


def validate_options(observation: str, length: int, render_mode: str | None) -> None:
    """Raise at once for an option that cannot work, and for a missing craftax."""
    checks.one_of("observation", observation, OBSERVATIONS)
    checks.whole("length", length, least=1)
    checks.one_of("render_mode", render_mode, (None, "rgb_array"))
    require("craftax", extra="craftax")


def single_info(frame: Frame) -> dict[str, Any]:
    """Return the info of the only sub-environment of a frame, with Python scalars."""
    return _first(unpack_infos(frame))


def _first(infos: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _first(value) if isinstance(value, dict) else _scalar(value[0])
        for key, value in infos.items()
        if not key.startswith("_")
    }


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
