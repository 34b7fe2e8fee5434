"""Pong as the literature shows it to policies: two small frames of what moves."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.worlds.atari.captioner import game_of
from llm_wrappers.worlds.atari.pong_frame_captioner import FRAME_SIZE, PongFrameCaptioner

__all__ = ["PongFrames"]

_TOP, _BOTTOM, _STRIDE = 35, 195, 2
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
        cropped = picture[_TOP:_BOTTOM:_STRIDE, ::_STRIDE]
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
