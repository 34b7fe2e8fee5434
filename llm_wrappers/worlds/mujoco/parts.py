"""What the captions of all MuJoCo robots are made of: limits, joints and phrases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from llm_wrappers.captions.captioner import Facts, FactValue
from llm_wrappers.captions.quantity import Quantity

__all__ = [
    "SOON_S",
    "Joint",
    "JointWords",
    "Limits",
    "change_words",
    "height_words",
    "number",
    "observed_size",
    "threat_words",
]


@dataclass(frozen=True)
class Limits:
    """A range that a quantity has to stay in.

    Args:
        low: The lower limit, or minus infinity.
        high: The upper limit, or infinity.
    """

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low < value < self.high

    def margin(self, value: float) -> float | None:
        """Return how far the nearer limit is, negative outside; None where there is none."""
        margin = min(value - self.low, self.high - value)
        return None if math.isinf(self.low) and math.isinf(self.high) else margin

    def is_near_low(self, value: float) -> bool:
        """Return whether the lower limit is the nearer one."""
        return value - self.low <= self.high - value

    def seconds(self, value: float, velocity: float) -> float | None:
        """Return how long until a limit is reached at this velocity; None for never, or outside.

        Args:
            value: The quantity.
            velocity: Its change per second.
        """
        if not self.low <= value <= self.high or not velocity:
            return None
        seconds = abs((self.high if velocity > 0 else self.low) - value) / abs(velocity)
        return seconds if math.isfinite(seconds) else None

    def words(self, unit: str, scale: float = 1.0) -> str:
        """Return the range in words.

        Args:
            unit: The unit in which it is told.
            scale: What the limits are multiplied by for this unit.

        >>> Limits(0.7, math.inf).words("m"), Limits(-1.0, 1.0).words("rad")
        ('above 0.7 m', 'between -1 and 1 rad')
        """
        low, high = (f"{round(limit * scale, 2):g}" for limit in (self.low, self.high))
        if math.isinf(self.low):
            return "at any value" if math.isinf(self.high) else f"below {high} {unit}"
        return (
            f"above {low} {unit}" if math.isinf(self.high) else f"between {low} and {high} {unit}"
        )


SOON_S = 0.2  # our choice: a limit that is reached sooner, at the present velocity, is a threat


def number(facts: Facts, name: str) -> float:
    """Return a fact that is a number."""
    value = facts[name]
    assert isinstance(value, float)
    return value


def height_words(height: Quantity, limits: Limits, facts: Facts) -> str:
    """Return the height, and how far it is from the nearer limit."""
    value = number(facts, height.fact)
    margin = limits.margin(value)
    if margin is None:
        return f"{height.size(facts)} high"
    near_low = limits.is_near_low(value)
    direction = "above" if near_low == (margin >= 0) else "below"
    side = "lower" if near_low else "upper"
    return f"{height.words(facts)} high, {abs(margin):.2f} m {direction} the {side} limit"


def threat_words(facts: Facts, *, safe: str) -> str:
    """Return whether the robot is about to leave its limits."""
    if not facts["within_limits"]:
        return "It is outside of its limits."
    if facts["threat"] == "none":
        return safe
    seconds = number(facts, "seconds_to_limit")
    return f"It is {facts['threat']}: at this rate the limit is {seconds:.2f} s away."


def change_words(
    quantity: Quantity, before: Facts, after: Facts, verbs: tuple[str, str], growth: float
) -> str:
    """Return how a quantity changed, empty where it is spoken of as before."""
    old, new = quantity.words(before), quantity.words(after)
    return "" if old == new else f"{verbs[growth > 0]} ({quantity.label} from {old} to {new})"


def observed_size(quantity: Quantity, facts: Facts, clip: float) -> str:
    """Return the size of a quantity, and say so where it may be larger than is observed."""
    more = abs(number(facts, quantity.fact)) >= clip
    return quantity.size(facts) + (" or more" if more else "")


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
        """Return what a torque does to the hinge; empty for none."""
        torque = round(torque * self.sign, 2)
        return f"{self.name} {self.words.push[torque > 0]} {abs(torque):.2f}" if torque else ""

    @property
    def _fact(self) -> str:
        return self.name.replace(" ", "_")
