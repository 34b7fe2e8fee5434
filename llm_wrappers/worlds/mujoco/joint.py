"""One hinge of a robot: where it is in observations and actions, and its words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from llm_wrappers.captions.captioner import Facts, FactValue
from llm_wrappers.worlds.classic.physical_system import Quantity
from llm_wrappers.worlds.mujoco.words import observed_size

__all__ = ["Joint", "JointWords"]


@dataclass(frozen=True)
class JointWords:
    """What a hinge does, in words: each time for the negative and for the positive direction.

    Args:
        angle: Where it is, such as ``("back", "forward")``.
        motion: How it moves, such as ``("swinging back", "swinging forward")``.
        push: What a torque does to it, such as ``("back", "forward")``.
    """

    angle: tuple[str, str]
    motion: tuple[str, str]
    push: tuple[str, str]


@dataclass(frozen=True)
class Joint:
    """A hinge with a motor.

    Args:
        name: Its name in sentences; with underscores, the beginning of its facts.
        angle_at: The index of its angle in the observation, in rad.
        velocity_at: The index of its angular velocity in the observation, in rad/s.
        words: What its directions mean.
        sign: -1 where the simulator counts in the other direction than the words.
        clip: The largest angular velocity that is observed, in rad/s.
    """

    name: str
    angle_at: int
    velocity_at: int
    words: JointWords
    sign: int = 1
    clip: float = math.inf

    @cached_property
    def angle(self) -> Quantity:
        """Its angle."""
        return Quantity(f"{self._fact}_angle_deg", self.name, "degrees", 1, *self.words.angle)

    @cached_property
    def velocity(self) -> Quantity:
        """Its angular velocity."""
        fact = f"{self._fact}_velocity_deg_per_s"
        return Quantity(fact, self.name, "degrees/s", 0, *self.words.motion)

    def facts(self, observation: Sequence[float]) -> dict[str, FactValue]:
        """Return angle and angular velocity in the directions of the words."""
        return {
            self.angle.fact: self.sign * math.degrees(observation[self.angle_at]),
            self.velocity.fact: self.sign * math.degrees(observation[self.velocity_at]),
        }

    def phrase(self, facts: Facts) -> str:
        """Return where the hinge is and how it moves."""
        angle = self.angle.words(facts) if self.angle.side(facts) else "straight"
        if not self.velocity.side(facts):
            return f"{self.name} {angle}, still"
        speed = observed_size(self.velocity, facts, math.degrees(self.clip))
        return f"{self.name} {angle}, {self.velocity.side(facts)} at {speed}"

    def push(self, torque: float) -> str:
        """Return what a torque does to the hinge; empty for none.

        Args:
            torque: The number in the action, of the full torque.
        """
        torque = round(torque * self.sign, 2)
        return f"{self.name} {self.words.push[torque > 0]} {abs(torque):.2f}" if torque else ""

    @property
    def _fact(self) -> str:
        return self.name.replace(" ", "_")
