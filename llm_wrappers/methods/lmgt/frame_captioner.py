"""A captioner whose facts hold the picture of the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError

__all__ = ["FRAME", "FrameCaptioner"]

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
