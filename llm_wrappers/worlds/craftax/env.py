"""Craftax-Classic as a single and as a natively vectorised Gymnasium environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils.seeding import np_random as make_generator
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError, require
from llm_wrappers.worlds.craftax.engine import OBSERVATIONS, Frame, Worlds, unpack_infos
from llm_wrappers.worlds.crafter.captioner import ACTIONS, CrafterFamilyCaptioner

__all__ = [
    "CraftaxClassicEnv",
    "CraftaxClassicVectorEnv",
    "observation_space_of",
    "validate_options",
]


class CraftaxClassicEnv(gym.Env[NDArray[Any], np.int64]):
    """Craftax-Classic under the Gymnasium API: Crafter's rules in JAX, with 22 achievements.

    Death is `terminated`, the time limit is `truncated`. The reward is the environment's own: 1
    for each achievement unlocked for the first time in the episode, and 0.1 per point of health
    won or lost.

    `info` has the same keys at reset and at each step: `achievements` (22 names, 1 once
    unlocked in this episode), `inventory` (16 names, vital signs included), `local_view` (7 rows
    and 9 columns of ids into `THINGS` of Crafter's captioner, what the agent sees), `facing`
    (1 left, 2 right, 3 up, 4 down), `sleeping` and `daylight`.

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


class CraftaxClassicVectorEnv(gym.vector.VectorEnv[NDArray[Any], NDArray[Any], NDArray[Any]]):
    """n worlds of Craftax-Classic that step in one jitted and vmapped call.

    Each sub-environment is the single environment `CraftaxClassicEnv`: seeded with ``seed + i`` it
    sees the same worlds, step by step. New worlds are generated only where an episode has ended.

    Args:
        num_envs: The number of sub-environments.
        observation: ``"symbolic"`` (1,345 floats each) or ``"pixels"`` (uint8, 63x63x3 each).
        length: The number of steps after which an episode is truncated.
        autoreset_mode: What happens where an episode has ended. The default is SAME_STEP, not
            Gymnasium's NEXT_STEP, because no step is then lost; the last observation and info of
            the episode are in ``infos["final_obs"]`` and ``infos["final_info"]``. With DISABLED
            call ``reset(options={"reset_mask": mask})``.
        render_mode: None or ``"rgb_array"``; `render` returns one picture per sub-environment.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        DependencyNotInstalled: If craftax is not installed.

    >>> import gymnasium as gym, llm_wrappers
    >>> envs = gym.make_vec("llm_wrappers/CraftaxClassic-v1", num_envs=2)
    >>> observations, infos = envs.reset(seed=0)
    >>> observations.shape, infos["inventory"]["health"].tolist()
    ((2, 1345), [9, 9])
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        observation: str = "symbolic",
        length: int = 10_000,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
    ) -> None:
        validate_options(observation, length, render_mode)
        self.num_envs = num_envs = checks.whole("num_envs", num_envs, least=1)
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": 10,
            "autoreset_mode": self.autoreset_mode,
        }
        self.render_mode = render_mode
        self.single_observation_space = observation_space_of(observation)
        self.single_action_space = gym.spaces.Discrete(len(ACTIONS))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.captioner = CrafterFamilyCaptioner("craftax-classic")
        self._worlds = Worlds(num_envs, observation=observation, length=length)
        self._generators: list[np.random.Generator] = []
        self._ended = np.zeros(num_envs, dtype=np.bool_)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Generate new worlds for all sub-environments, or for those of a mask.

        Args:
            seed: One seed for all (sub-environment i gets ``seed + i``), or one per
                sub-environment.
            options: ``{"reset_mask": bool array of shape (n,)}`` resets only some; the
                observations of the others are those of their last step, and infos tell nothing
                of them, as in Gymnasium's own vector environments.
        """
        seeds = self._seeds(seed)
        mask = None if options is None else options.get("reset_mask")
        if mask is None:
            self._seed(seeds, np.ones(self.num_envs, dtype=np.bool_))
            self._ended[:] = False
            frame = self._worlds.start(self._generators)
            self._observations, self._infos = np.array(frame.observation), unpack_infos(frame)
        else:
            mask = self._checked_mask(mask)
            self._seed(seeds, mask)
            self._restart(mask)
            return self._observations.copy(), _rows_where(self._infos, mask)
        return self._observations.copy(), copy_infos(self._infos)

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Step all sub-environments.

        Args:
            actions: Integers of shape (n,).

        Raises:
            ResetNeeded: If there was no reset before, or, with autoreset disabled, if a
                sub-environment whose episode has ended was not reset.
            InvalidOptionError: If the actions are not n integers in 0..16.
        """
        actions = self._checked_actions(actions)
        waiting = self._ended.copy()
        if self.autoreset_mode == AutoresetMode.DISABLED and waiting.any():
            raise ResetNeeded(f"reset sub-environments {np.flatnonzero(waiting).tolist()} first")
        frame = self._worlds.step(actions)
        self._observations = np.array(frame.observation)
        self._infos = unpack_infos(frame)
        rewards = np.array(frame.reward, dtype=np.float64)
        terminated, truncated = np.array(frame.terminated), np.array(frame.truncated)
        if waiting.any():  # autoreset at the next step: this one only shows the new world
            rewards[waiting] = 0.0
            terminated[waiting] = truncated[waiting] = False
            self._restart(waiting)
        self._ended = terminated | truncated
        final = {}
        if self.autoreset_mode == AutoresetMode.SAME_STEP and self._ended.any():
            final = self._final_infos(self._ended)
            self._restart(self._ended)
        infos = {**copy_infos(self._infos), **final}
        return self._observations.copy(), rewards, terminated, truncated, infos

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Return one RGB picture per sub-environment, or None without a render mode.

        Raises:
            ResetNeeded: If there was no reset before.
        """
        if self.render_mode is None:
            gym.logger.warn('no render mode: build the environment with render_mode="rgb_array"')
            return None
        if not self._worlds.started:
            raise ResetNeeded("call reset() before render()")
        return tuple(self._worlds.picture(index) for index in range(self.num_envs))

    def _restart(self, mask: NDArray[np.bool_]) -> None:
        for index in np.flatnonzero(mask).tolist():
            frame = self._worlds.restart(index, self._generators[index])
            self._observations[index] = frame.observation[0]
            _write_row(self._infos, unpack_infos(frame), index)
        self._ended = self._ended & ~mask

    def _final_infos(self, ended: NDArray[np.bool_]) -> dict[str, Any]:
        # One object per episode that ended, as in Gymnasium's own vector environments.
        observations = np.full(self.num_envs, None, dtype=object)
        for index in np.flatnonzero(ended):
            observations[index] = self._observations[index].copy()
        return {
            "final_obs": observations,
            "_final_obs": ended.copy(),
            "final_info": _rows_where(self._infos, ended),
            "_final_info": ended.copy(),
        }

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return [int(seed) + index for index in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise InvalidOptionError(f"expected {self.num_envs} seeds, got {len(seed)}")
        return list(seed)

    def _seed(self, seeds: list[int | None], mask: NDArray[np.bool_]) -> None:
        if not self._generators:
            self._generators = [make_generator(seed)[0] for seed in seeds]
            return
        for index in np.flatnonzero(mask):
            if seeds[index] is not None:
                self._generators[index] = make_generator(seeds[index])[0]

    def _checked_mask(self, reset_mask: Any) -> NDArray[np.bool_]:
        mask: NDArray[np.bool_] = np.asarray(reset_mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise InvalidOptionError(
                f"reset_mask must be {self.num_envs} booleans, one of them true, got {mask!r}"
            )
        if not self._worlds.started:
            raise ResetNeeded("call reset() without a reset_mask first")
        return mask

    def _checked_actions(self, batch: Any) -> NDArray[Any]:
        if not self._worlds.started:
            raise ResetNeeded("call reset() before step()")
        actions: NDArray[Any] = np.asarray(batch)
        whole = np.issubdtype(actions.dtype, np.integer)
        if actions.shape != (self.num_envs,) or not whole:
            raise InvalidOptionError(
                f"expected {self.num_envs} integer actions, "
                f"got {actions.dtype} of shape {actions.shape}"
            )
        if actions.min() < 0 or actions.max() >= len(ACTIONS):
            raise InvalidOptionError(f"expected actions in 0..{len(ACTIONS) - 1}, got {actions!r}")
        return actions


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
    except ValueError:
        modes = [known.value for known in AutoresetMode]
        raise InvalidOptionError(f"autoreset_mode must be one of {modes}, got {mode!r}") from None


def copy_infos(infos: dict[str, Any]) -> dict[str, Any]:
    """Return infos that share no dict and no array with the given ones."""
    return {
        key: copy_infos(value) if isinstance(value, dict) else value.copy()
        for key, value in infos.items()
    }


def _write_row(infos: dict[str, Any], row: dict[str, Any], index: int) -> None:
    for key, value in row.items():
        if isinstance(value, dict):
            _write_row(infos[key], value, index)
        else:
            infos[key][index] = value[0]


def _rows_where(infos: dict[str, Any], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return infos whose other rows are zero and whose masks are `mask`."""
    chosen: dict[str, Any] = {}
    for key, value in infos.items():
        if isinstance(value, dict):
            chosen[key] = _rows_where(value, mask)
        elif key.startswith("_"):
            chosen[key] = mask.copy()
        else:
            chosen[key] = np.zeros_like(value)
            chosen[key][mask] = value[mask]
    return chosen
