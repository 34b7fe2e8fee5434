"""Pong as the literature sees it: two frames of 80 x 80, and their captions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner, Facts, StateByState
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.worlds.atari.captioner import AtariRamCaptioner, game_of
from llm_wrappers.worlds.atari.pong import change, pong_sentence

__all__ = ["FRAME_SIZE", "PongFrameCaptioner", "PongFrames"]

FRAME_SIZE = 80
"""The rows and columns of a frame."""

# A cell stands for 2 x 2 pixels of the screen, from row 35 on.
_CELL, _TOP = 2, 35
_PADDLE_HEIGHT = 16
# The first of the two columns that each paddle fills; the ball fills one column.
_OPPONENT_COLUMN, _OWN_COLUMN = 8, 70

_MEANING = (
    "Positions are pixels of the screen, read from a picture of half its size: they may be 3 off. "
    "They are those of the upper left corner of the ball, and of the middle of the paddles. "
    "ball_dx, ball_dy, paddle_dy and opponent_dy are the pixels moved since the last step, right "
    "and down being positive; None where that is not known. ball_towards_you is None also where "
    "the ball did not move sideways. What is out of sight is None, and the score is not in the "
    "picture."
)


class PongFrameCaptioner(StateByState):
    """Speaks about Pong from what is drawn in two frames, and from nothing else.

    Facts have the names and units of `llm_wrappers.worlds.atari.captioner.AtariRamCaptioner`, and
    sentences its words, so that guidance for one serves the other. Positions are those of
    the screen, within a few pixels. There is no score.

    A paddle that is hidden in part behind the edge is taken to be 16 pixels high. The ball is not
    told from a paddle that it flies through: it is out of sight then.

    Args:
        actions: The number of actions: 6, or 18 with ``full_action_space=True``; None for 6.
        env_id: The Gymnasium id; empty for the name of the game.

    Raises:
        InvalidOptionError: If the game has no such number of actions.

    >>> captioner = PongFrameCaptioner()
    >>> frames = np.zeros((1, 80, 80, 2), np.uint8)
    >>> frames[0, 30:38, 70:72] = frames[0, 20:28, 8:10] = 255
    >>> frames[0, 24:26, 38, 0] = frames[0, 23:25, 40, 1] = 255
    >>> captioner.state_captions(captioner.facts(frames, {}))
    ["The ball is at x 80, y 81, moving 4 pixels right per step and 2 pixels up per step, towards
    you. Your paddle is at y 103, the opponent's at y 83."]
    """

    def __init__(self, *, actions: int | None = None, env_id: str = "") -> None:
        described = AtariRamCaptioner("pong", actions=actions, env_id=env_id).description
        self._description = dataclasses.replace(described, facts=_MEANING)

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> list[Facts]:
        """Return what is drawn in each pair of frames.

        Args:
            observations: The frames before and after a step, shape (n, 80, 80, 2); what is not 0
                is drawn.
            infos: Not read.

        Raises:
            InvalidOptionError: If the observations have another shape.
        """
        frames = np.asarray(observations)
        if frames.shape[1:] != (FRAME_SIZE, FRAME_SIZE, 2):
            raise InvalidOptionError(
                f"expected pairs of frames of shape (n, {FRAME_SIZE}, {FRAME_SIZE}, 2), got "
                f"{frames.shape}; wrap the environment in "
                "llm_wrappers.worlds.atari.pong_frames.PongFrames"
            )
        return [_facts(before, now) for before, now in np.moveaxis(frames != 0, -1, 1)]

    def _state(self, facts: Facts) -> str:
        return pong_sentence(facts)

    def _transition(self, before: Facts, action: Any, after: Facts) -> str:
        return self._action_name(action)


def _facts(before: NDArray[np.bool_], now: NDArray[np.bool_]) -> Facts:
    # The first picture of an episode shows a ball that is not there; nothing is drawn before it.
    ball = _ball(now) if before.any() else None
    dx, dy = _motion(ball, _ball(before))
    own, opponent = _middle(now, _OWN_COLUMN), _middle(now, _OPPONENT_COLUMN)
    return {
        "ball_in_play": ball is not None,
        "ball_x": None if ball is None else ball[0],
        "ball_y": None if ball is None else ball[1],
        "ball_dx": dx,
        "ball_dy": dy,
        "ball_towards_you": dx > 0 if dx else None,
        "paddle_y": own,
        "paddle_dy": change(own, _middle(before, _OWN_COLUMN)),
        "opponent_y": opponent,
        "opponent_dy": change(opponent, _middle(before, _OPPONENT_COLUMN)),
    }


def _motion(
    now: tuple[int, int] | None, before: tuple[int, int] | None
) -> tuple[int | None, int | None]:
    if now is None or before is None:
        return None, None
    return now[0] - before[0], now[1] - before[1]


def _ball(frame: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Return the upper left corner of the ball on the screen, None if it is out of sight."""
    rest = frame.copy()
    for column in (_OPPONENT_COLUMN, _OWN_COLUMN):
        rest[_paddle_rows(frame, column), column : column + 2] = False
    rows, columns = np.nonzero(rest)
    if not len(rows):
        return None
    return _CELL * int(columns.min()), _TOP + _CELL * int(rows.min())


def _paddle_rows(frame: NDArray[np.bool_], column: int) -> NDArray[np.bool_]:
    rows: NDArray[np.bool_] = frame[:, column] & frame[:, column + 1]
    return rows


def _middle(frame: NDArray[np.bool_], column: int) -> int | None:
    """Return the middle of a paddle on the screen, None if it is out of sight."""
    (rows,) = np.nonzero(_paddle_rows(frame, column))
    if not len(rows):
        return None
    top, bottom = _TOP + _CELL * int(rows[0]), _TOP + _CELL * (int(rows[-1]) + 1)
    hidden = _PADDLE_HEIGHT - (bottom - top)
    if hidden > 0 and rows[0] == 0:
        top -= hidden
    elif hidden > 0 and rows[-1] == FRAME_SIZE - 1:
        bottom += hidden
    return (top + bottom) // 2


_FRAMES_TOP, _BOTTOM, _STRIDE = 35, 195, 2
# Red and grey of the background of the game, and of that of the first picture after a reset.
_BACKGROUNDS = {3: (144, 109), 2: (87, 107)}
_DRAWN = 255
_RGB, _GREY = (210, 160, 3), (210, 160)


class PongFrames(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Observes Pong as two frames of 80 x 80 in which only ball and paddles are drawn.

    The frame is the one that policy gradient code for Pong has used since Karpathy's "Deep
    Reinforcement Learning: Pong from Pixels" (2016): rows 35 to 195 of the picture, every second
    row and column, everything drawn that is not background. ULTRA (arXiv 2505.20671) describes
    states of Pong from a grid of this size; how it is cut is not known to us.

    Karpathy's policy sees the difference of two frames, in which a paddle at rest is invisible.
    Here the two frames are channels, which is our choice: ``observation[..., 0]`` is the frame
    before the step, ``observation[..., 1]`` the one after it; their difference is Karpathy's
    observation. At a reset the first is empty. Values are 0 and 255, so that Stable-Baselines3
    takes the observation for an image and scales it to 0 and 1.

    A step is one of this wrapper: put it outside of frame skipping. From one frame of the game to
    the next the ball often moves less than a cell. The attribute `captioner`, which every wrapper
    of this package finds by itself, reads nothing but these frames.

    Args:
        env: Pong of ale-py (``pip install "llm-wrappers[atari]"``), with the observations
            ``obs_type="rgb"``, the default, or ``"grayscale"``.

    Raises:
        IncompatibleEnvironmentError: If it is another environment, or observes something else.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._backgrounds = _BACKGROUNDS[_picture_axes(env)]
        self._captioner = _captioner_of(env)
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        shape = (FRAME_SIZE, FRAME_SIZE, 2)
        self.observation_space = gym.spaces.Box(0, _DRAWN, shape, np.uint8)
        self._before = np.zeros(shape[:2], np.uint8)

    @property
    def captioner(self) -> Captioner:
        """How these frames speak."""
        return self._captioner

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Reset the environment; the frame before is empty."""
        picture, info = self.env.reset(seed=seed, options=options)
        self._before = np.zeros_like(self._before)
        return self._observed(picture), info

    def step(self, action: Any) -> tuple[NDArray[np.uint8], Any, bool, bool, dict[str, Any]]:
        """Step the environment and draw the frame."""
        picture, reward, terminated, truncated, info = self.env.step(action)
        return self._observed(picture), reward, terminated, truncated, info

    def _observed(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        cropped = picture[_FRAMES_TOP:_BOTTOM:_STRIDE, ::_STRIDE]
        colour = cropped[..., 0] if cropped.ndim == len(_RGB) else cropped
        frame = np.where(np.isin(colour, self._backgrounds), 0, _DRAWN).astype(np.uint8)
        observation = np.stack([self._before, frame], axis=-1)
        self._before = frame
        return observation


def _picture_axes(env: gym.Env[Any, Any]) -> int:
    space = env.observation_space
    # Other ways to make a picture grey have another background.
    changed = space != env.unwrapped.observation_space
    if changed or space.dtype != np.uint8 or space.shape not in (_RGB, _GREY):
        raise IncompatibleEnvironmentError(
            f"expected pictures of Pong, uint8 of shape {_RGB} or {_GREY}, got {space}; make the "
            'environment with obs_type="rgb" or "grayscale" and put this wrapper below those that '
            "change the observation"
        )
    return len(space.shape)


def _captioner_of(env: gym.Env[Any, Any]) -> PongFrameCaptioner:
    env_id = env.unwrapped.spec.id if env.unwrapped.spec is not None else ""
    actions = env.action_space
    if game_of(env_id) != "pong" or not isinstance(actions, gym.spaces.Discrete):
        raise IncompatibleEnvironmentError(
            f"expected Pong with discrete actions, got {env_id or env.unwrapped} with "
            f'{actions}; make it with gymnasium.make("ALE/Pong-v5")'
        )
    return PongFrameCaptioner(actions=int(actions.n), env_id=env_id)
