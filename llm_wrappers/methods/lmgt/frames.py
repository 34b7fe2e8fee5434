"""Pictures of the states, for judges that look at them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError, require

__all__ = ["FRAME", "FrameCaptioner", "FrameInfoWrapper", "png_base64"]

FRAME = "frame"
"""The entry of the info, and the fact, that holds the picture."""


class FrameCaptioner:
    """Says what another captioner says, and has the picture of the state among its facts.

    The fact `frame` is the picture as PNG in base64; it is a part of no caption.

    Args:
        captioner: The captioner of the environment.
    """

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner

    @property
    def description(self) -> EnvDescription:
        """What never changes about the environment."""
        return self._captioner.description

    @property
    def reads_observations(self) -> bool:
        """Whether facts are made from more than infos."""
        return bool(getattr(self._captioner, "reads_observations", True))

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> list[Facts]:
        """Return the facts of n states, each with its picture.

        Args:
            observations: As the inner captioner reads them.
            infos: With `frame`, n texts, as `FrameInfoWrapper` puts it there.

        Raises:
            InvalidOptionError: If there are no pictures.
        """
        if FRAME not in infos:
            raise InvalidOptionError(
                f"expected a picture in info[{FRAME!r}]: put FrameInfoWrapper around the "
                f"environment; the info has {sorted(infos)}"
            )
        rows = self._captioner.facts(observations, infos)
        return [{**row, FRAME: str(png)} for row, png in zip(rows, infos[FRAME], strict=True)]

    def state_captions(self, facts: Sequence[Facts]) -> list[str]:
        """Return the captions of n states."""
        return self._captioner.state_captions(facts)

    def transition_captions(
        self, before: Sequence[Facts], actions: Sequence[Any], after: Sequence[Facts]
    ) -> list[str]:
        """Return what n actions did."""
        return self._captioner.transition_captions(before, actions, after)


class FrameInfoWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Puts the rendered picture of each state, as PNG in base64, into ``info["frame"]``.

    The picture is taken after each reset and step, so that it shows the state in which the next
    action is taken. The captioner of this environment has it among its facts. In a vector
    environment it belongs around each sub-environment, in whose process pictures are then made;
    give an `AsyncVectorEnv`, into which nobody can look, ``captioner=FrameCaptioner(...)`` too.

    Args:
        env: An environment made with ``render_mode="rgb_array"``.

    Raises:
        IncompatibleEnvironmentError: If its render mode is another.
        DependencyNotInstalled: If Pillow is missing (extra ``vision``); at the first reset.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        if env.render_mode != "rgb_array":
            raise IncompatibleEnvironmentError(
                f"expected an environment with render_mode 'rgb_array', got {env.render_mode!r}: "
                "make it with gym.make(..., render_mode='rgb_array')"
            )
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)

    @property
    def captioner(self) -> FrameCaptioner:
        """The captioner of the environment below, with the picture among the facts."""
        return FrameCaptioner(resolve_captioner(self.env))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and take its picture."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, FRAME: self._frame()}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment and take its picture."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, {**info, FRAME: self._frame()}

    def _frame(self) -> str:
        picture: Any = self.env.render()
        return png_base64(picture)


def png_base64(frame: NDArray[np.uint8]) -> str:
    """Return a picture, uint8 of shape (height, width, 3), as PNG in base64."""
    picture = np.asarray(frame)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise InvalidOptionError(
            "expected a picture as uint8 of shape (height, width, 3), got "
            f"{picture.dtype} of shape {picture.shape}"
        )
    buffer = BytesIO()
    require("PIL.Image", extra="vision").fromarray(picture).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
