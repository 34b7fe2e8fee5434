"""Atari games in words, from the memory of the console."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner, Facts, StateByState
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.layers import AnyEnv, actions_of, observed_of
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError, UnknownNameError
from llm_wrappers.worlds.atari.games import MONTEZUMA, PITFALL, AtariGame
from llm_wrappers.worlds.atari.pong import PONG

__all__ = ["GAMES", "AtariRam", "AtariRamCaptioner", "game_of", "known_atari"]

_BYTES = 128
_JOYSTICK = (
    "no move", "fire", "up", "right", "left", "down", "up right", "up left", "down right",
    "down left", "up and fire", "right and fire", "left and fire", "down and fire",
    "up right and fire", "up left and fire", "down right and fire", "down left and fire",
)  # fmt: skip
_NAMES = {"Pong": "pong", "Pitfall": "pitfall", "MontezumaRevenge": "montezuma_revenge"}
_ENV_ID = re.compile(r"(?:ALE/)?([A-Za-z]+?)(?:-ram)?(?:Deterministic|NoFrameskip)?-v\d+")

GAMES: Mapping[str, AtariGame] = {
    "pong": PONG,
    "pitfall": PITFALL,
    "montezuma_revenge": MONTEZUMA,
}
"""The games that can be read, by name."""


class AtariRamCaptioner(StateByState):
    """Speaks about an Atari game from the 128 bytes of its memory.

    The memory comes from ``info["ram"]``, which `llm_wrappers.worlds.atari.captioner.AtariRam` puts
    there, or from the observation where that is the memory itself (``obs_type="ram"``). How
    the ball of Pong moves cannot be told from one moment: those facts need
    ``info["previous_ram"]`` as well, from
    the same wrapper, and are None without.

    Pong names ball, motion, paddles and score. Pitfall names the player, what the screen holds, the
    score and the time. Of Montezuma's Revenge there are room, position, lives, score
    and what is carried; in the first room also key, doors and skull.

    Args:
        game: ``"pong"``, ``"pitfall"`` or ``"montezuma_revenge"``.
        actions: The number of actions: 18, or fewer where the game has a smaller set; None for the
            set that `gymnasium.make` gives.
        env_id: The Gymnasium id; empty for the name of the game.
        reads_observations: Whether the memory comes from the observation.

    Raises:
        UnknownNameError: If the game cannot be read.
        InvalidOptionError: If the game has no such number of actions.

    >>> captioner = AtariRamCaptioner("pong")
    >>> ram = np.zeros((1, 128), np.uint8)
    >>> ram[0, [49, 54, 50, 51, 13, 14]] = 129, 94, 87, 105, 3, 5
    >>> before = ram.copy()
    >>> before[0, [49, 54]] = 125, 96
    >>> captioner.state_captions(captioner.facts(ram, {"previous_ram": before}))
    ["The ball is at x 80, y 80, moving 4 pixels right per step and 2 pixels up per step, towards
    you. Your paddle is at y 100, the opponent's at y 80. The score is 5 to 3."]
    """

    def __init__(
        self,
        game: str,
        *,
        actions: int | None = None,
        env_id: str = "",
        reads_observations: bool = False,
    ) -> None:
        if game not in GAMES:
            raise UnknownNameError(f"expected a game among {sorted(GAMES)}, got {game!r}")
        self._game = GAMES[game]
        self.reads_observations = checks.flag("reads_observations", reads_observations)
        self._description = EnvDescription(
            env_id=env_id or game,
            rules=self._game.rules,
            action_names=_action_names(self._game, actions),
            facts=self._game.meaning,
        )

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> list[Facts]:
        """Return what is read from each memory.

        Args:
            observations: The memories, uint8 of shape (n, 128); not read where infos have them.
            infos: Read are `ram` and `previous_ram`, uint8 of shape (n, 128).

        Raises:
            InvalidOptionError: If there is no memory in either.
        """
        now = _memories(infos.get("ram", observations))
        before = infos.get("previous_ram")
        previous = [None] * len(now) if before is None else _memories(before)
        return [self._game.facts(*pair) for pair in zip(now, previous, strict=True)]

    def _state(self, facts: Facts) -> str:
        return self._game.sentence(facts)

    def _transition(self, before: Facts, action: Any, after: Facts) -> str:
        return self._action_name(action)


def game_of(env_id: str) -> str:
    """Return the name of the game that a Gymnasium id stands for, empty if it cannot be read.

    >>> game_of("ALE/Pong-v5"), game_of("PongNoFrameskip-v4"), game_of("ALE/Breakout-v5")
    ('pong', 'pong', '')
    """
    match = _ENV_ID.fullmatch(env_id)
    return _NAMES.get(match[1], "") if match else ""


def known_atari(layers: Sequence[AnyEnv], env_id: str) -> AtariRamCaptioner | None:
    """Return the captioner of an environment whose observation is the memory, else None."""
    observation_space, action_space = observed_of(layers[-1]), actions_of(layers[-1])
    game = game_of(env_id)
    memory = gym.spaces.Box(0, 255, (_BYTES,), np.uint8)
    if not game or observation_space != memory or not isinstance(action_space, gym.spaces.Discrete):
        return None
    return AtariRamCaptioner(
        game, actions=int(action_space.n), env_id=env_id, reads_observations=True
    )


def _action_names(game: AtariGame, actions: int | None) -> tuple[str, ...]:
    minimal = game.actions or _JOYSTICK
    if actions in (None, len(minimal)):
        return minimal
    if actions == len(_JOYSTICK):
        return _JOYSTICK
    sizes = sorted({len(minimal), len(_JOYSTICK)})
    raise InvalidOptionError(f"actions must be one of {sizes} in this game, got {actions!r}")


def _memories(values: Any) -> list[list[int]]:
    array: NDArray[Any] = np.asarray(values)
    if array.ndim != 2 or array.shape[1] != _BYTES or array.dtype != np.uint8:
        raise InvalidOptionError(
            f"expected the memory of the console, uint8 of shape (n, {_BYTES}), got "
            f"{array.dtype} of shape {array.shape}; wrap the environment in "
            'llm_wrappers.worlds.atari.captioner.AtariRam, or make it with obs_type="ram"'
        )
    memories: list[list[int]] = array.tolist()
    return memories


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
