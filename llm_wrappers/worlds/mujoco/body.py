"""What the captioner of MuJoCo robots needs to know about a robot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from llm_wrappers.captions.captioner import Facts, FactValue
from llm_wrappers.worlds.mujoco.joint import Joint

__all__ = ["Body"]


class Body(Protocol):
    """One robot, with the settings that its environment was made with.

    `observation_size` is the length of an observation, `joints` are in the order of the action,
    `meaning` says what the facts mean.
    """

    observation_size: int
    joints: tuple[Joint, ...]
    meaning: str

    def __init__(self, env_id: str, settings: Mapping[str, Any]) -> None: ...

    def facts(self, observation: Sequence[float]) -> dict[str, FactValue]:
        """Return the quantities of one observation by name."""

    def sentence(self, facts: Facts) -> str:
        """Return the state caption."""

    def changes(self, before: Facts, after: Facts) -> list[str]:
        """Return what a step changed, most important first."""

    def rules(self) -> str:
        """Return what a player has to know, but for the time limit."""
