"""A captioner of an environment whose observation a wrapper has put into a Dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.captions.description import EnvDescription

__all__ = ["InnerCaptioner"]


class InnerCaptioner:
    """Reads the entry ``"obs"`` and says what another captioner says of it.

    Args:
        captioner: The captioner of the environment below the wrapper.
    """

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner

    @property
    def description(self) -> EnvDescription:
        """What never changes about the environment."""
        return self._captioner.description

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> Sequence[Facts]:
        """Return the facts of n sub-environments, read from the inner observations."""
        return self._captioner.facts(observations["obs"], infos)

    def state_captions(self, facts: Sequence[Facts]) -> list[str]:
        """Return the captions of n states."""
        return self._captioner.state_captions(facts)

    def transition_captions(
        self, before: Sequence[Facts], actions: Sequence[Any], after: Sequence[Facts]
    ) -> list[str]:
        """Return what n actions did."""
        return self._captioner.transition_captions(before, actions, after)
