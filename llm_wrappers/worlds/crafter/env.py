"""Crafter under the Gymnasium API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.errors import InvalidOptionError, require
from llm_wrappers.worlds.crafter.captioner import (
    ACHIEVEMENTS,
    ACTIONS,
    INVENTORY,
    CrafterFamilyCaptioner,
)

__all__ = ["CrafterEnv"]

# Below this the pictures of the inventory counts shrink to nothing.
_SMALLEST_SIZE = 18
_SMALLEST_AREA = 9
_RENDER_SCALE = 4
_WORLD_SEEDS = 2**31 - 1


class CrafterEnv(gym.Env[NDArray[np.uint8], np.int64]):
    """Crafter (Hafner, 2021) under the Gymnasium API, reproducible from a seed.

    The agent collects, builds, eats, sleeps and fights in a generated 2D world, and sees the 9
    columns and 7 rows of tiles around it with its inventory below. The reward is Crafter's own: 1
    in each step that unlocks achievements for the first time in the episode, and 0.1 per point of
    health won or lost. Death is `terminated`, the limit of steps is `truncated`; after either,
    call `reset`.

    The same seed and actions give the same observations, rewards and infos, in any process;
    rendering in between changes nothing. (Crafter as shipped differs from run to run.) The seed of
    each world is drawn from `np_random` at `reset`.

    `info` has the same keys at reset and at each step, and every value is a fresh object:

    - `achievements`: how often each of the 22 was reached in this episode, by name;
    - `inventory`: the vital signs health, food, drink and energy, then the items, by name, 0 to 9;
    - `local_view`: what the agent sees, uint8 of shape (7, 9), rows first, ids into
      `llm_wrappers.worlds.crafter.captioner.THINGS`; the agent is at [3, 4], where the
      material it stands on is shown; elsewhere objects hide the material under them;
    - `facing`: 1 left, 2 right, 3 up, 4 down, as the move actions are numbered;
    - `sleeping`: whether the agent is asleep;
    - `daylight`: from about 0 (night) to 1.

    Environments pickle and deepcopy at any time, also in the middle of an episode.

    Args:
        render_mode: None, or ``"rgb_array"`` to let `render` return the observation at four times
            its size.
        size: Height and width of an observation, in pixels, at least 18.
        length: The number of steps after which an episode is truncated.
        area: Columns and rows of the world, in tiles, at least 9 each.
        privileged: Whether to add to `info` what the agent cannot see: `semantic`, Crafter's ids
            of the whole world, uint8 of shape `area`, indexed [x, y]; and `player_pos`, the
            position (x, y) of the agent in it. For analysis, not for training.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        DependencyNotInstalled: If crafter is not installed.

    >>> env = CrafterEnv(size=48)
    >>> env.observation_space.shape, env.action_space
    ((48, 48, 3), Discrete(17))
    >>> env.captioner.description.action_names[5]
    'do'
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        *,
        render_mode: str | None = None,
        size: int = 64,
        length: int = 10_000,
        area: Sequence[int] = (64, 64),
        privileged: bool = False,
    ) -> None:
        _validate_options(render_mode, size, length, area, privileged)
        require("crafter", extra="crafter")
        from llm_wrappers.worlds.crafter.engine import Game

        self.observation_space = gym.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gym.spaces.Discrete(len(ACTIONS))
        self.render_mode = render_mode
        self._length = length
        self._privileged = privileged
        self._started = False
        self._game = Game((area[0], area[1]), size)

    @property
    def captioner(self) -> Captioner:
        """How this environment speaks: facts and captions from its infos."""
        return CrafterFamilyCaptioner("crafter")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Generate a new world and return its first observation and info.

        Args:
            seed: Seeds `np_random`; None continues its stream.
            options: Not used.
        """
        super().reset(seed=seed, options=options)
        observation = self._game.start(int(self.np_random.integers(_WORLD_SEEDS)))
        self._started = True
        return observation, self._info()

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Play one step.

        Args:
            action: The number of the action, in the order of
                `captioner.description.action_names`.

        Raises:
            ResetNeeded: If there was no reset before.
            InvalidOptionError: If the action is not a whole number in the action space.
        """
        if not self._started:
            raise ResetNeeded("call reset() before step()")
        if not self.action_space.contains(action):
            last = len(self.captioner.description.action_names) - 1
            raise InvalidOptionError(
                f"expected an action from 0 to {last}, a whole number; got {action!r}"
            )
        observation, reward, terminated = self._play(int(action))
        truncated = not terminated and self._game.step_count >= self._length
        return observation, reward, terminated, truncated, self._info()

    def _play(self, action: int) -> tuple[NDArray[np.uint8], float, bool]:
        """Return the observation, the reward, and whether the episode has come to its end."""
        observation, reward = self._game.act(action)
        return observation, reward, self._game.dead

    def render(self) -> NDArray[np.uint8] | None:
        """Return the observation at four times its size, or None without a render mode.

        Raises:
            ResetNeeded: If there was no reset before.
        """
        if self.render_mode is None:
            gym.logger.warn('no render mode: build the environment with render_mode="rgb_array"')
            return None
        if not self._started:
            raise ResetNeeded("call reset() before render()")
        return self._game.picture(_RENDER_SCALE)

    def _info(self) -> dict[str, Any]:
        player = self._game.player
        info: dict[str, Any] = {
            "achievements": {name: int(player.achievements[name]) for name in ACHIEVEMENTS},
            "inventory": {name: int(player.inventory[name]) for name in INVENTORY},
            "local_view": self._game.local_view(),
            "facing": self._game.facing,
            "sleeping": bool(player.sleeping),
            "daylight": float(self._game.world.daylight),
        }
        if self._privileged:
            info["semantic"] = self._game.whole_map()
            info["player_pos"] = (int(player.pos[0]), int(player.pos[1]))
        return info


def _validate_options(render_mode: Any, size: Any, length: Any, area: Any, privileged: Any) -> None:
    checks.one_of("render_mode", render_mode, (None, "rgb_array"))
    checks.whole("size", size, least=_SMALLEST_SIZE)
    checks.whole("length", length, least=1)
    checks.flag("privileged", privileged)
    # A list is what a tuple becomes in JSON.
    if not (
        isinstance(area, tuple | list)
        and len(area) == 2
        and all(checks.is_whole(side) and side >= _SMALLEST_AREA for side in area)
    ):
        raise InvalidOptionError(
            f"area must be two whole numbers of tiles, at least {_SMALLEST_AREA} each, such as "
            f"(64, 64), got {area!r}"
        )
