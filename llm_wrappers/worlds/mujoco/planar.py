"""Hopper and Walker2d of MuJoCo: robots that move in a vertical plane."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from llm_wrappers.captions.captioner import Facts, FactValue
from llm_wrappers.worlds.classic.physical_system import Quantity
from llm_wrappers.worlds.mujoco.joint import Joint, JointWords
from llm_wrappers.worlds.mujoco.limits import Limits
from llm_wrappers.worlds.mujoco.words import (
    SOON_S,
    change_words,
    height_words,
    number,
    observed_size,
    threat_words,
)

__all__ = ["PlanarBody"]

_CLIP = 10.0  # the environments clip all observed velocities, in m/s and in rad/s
_TIMESTEP_S = 0.002

_HIP = JointWords(("back", "forward"), ("swinging back", "swinging forward"), ("back", "forward"))
_KNEE = JointWords(("bent", "overstretched"), ("bending", "stretching"), ("bend", "stretch"))
_ANKLE = JointWords(("down", "up"), ("turning down", "turning up"), ("down", "up"))

_HEIGHT = Quantity("torso_height_m", "height", "m", 2)
_LEAN = Quantity("torso_angle_deg", "torso angle", "degrees", 1, "backward", "forward")
_TURN = Quantity("torso_velocity_deg_per_s", "", "degrees/s", 0, "backward", "forward")
_FORWARD = Quantity(
    "forward_velocity_m_per_s", "velocity", "m/s", 2, "backward", "forward"
)  # along x
_RISE = Quantity("vertical_velocity_m_per_s", "vertical velocity", "m/s", 2, "down", "up")

_SHAPES = {
    "Hopper-v5": "A robot with one leg (torso, thigh, lower leg, foot) is to hop",
    "Walker2d-v5": "A robot with two legs (torso, and per leg thigh, lower leg, foot) is to walk",
}
_GEARS = {"Hopper-v5": 200, "Walker2d-v5": 100}


class PlanarBody:
    """A robot of one torso and one or two legs of hip, knee and ankle.

    Args:
        env_id: ``"Hopper-v5"`` or ``"Walker2d-v5"``.
        settings: All keyword arguments of the environment that the rules depend on.
    """

    meaning = (
        "Positive is forward: the torso leans forward, the thigh is in front of the torso's line, "
        "the robot moves along x. A knee angle is 0 when stretched and negative when bent; an "
        "ankle angle is 0 when the foot is at a right angle to the leg and positive when the toes "
        "are higher. Margins are distances to the nearer limit, negative outside. Velocities are "
        "observed up to 10 m/s and 10 rad/s (573 degrees/s) only."
    )

    def __init__(self, env_id: str, settings: Mapping[str, Any]) -> None:
        legs = ("",) if env_id == "Hopper-v5" else ("right ", "left ")
        names = [
            (f"{leg}{joint}", words)
            for leg in legs
            for joint, words in (("hip", _HIP), ("knee", _KNEE), ("ankle", _ANKLE))
        ]
        # Height and angle of the torso come first; velocities begin with that along x.
        self._velocities = 2 + len(names)
        self.observation_size = 2 * self._velocities + 1
        self.joints = tuple(
            Joint(name, 2 + index, self._velocities + 3 + index, words, clip=_CLIP)
            for index, (name, words) in enumerate(names)
        )
        self._env_id = env_id
        self._settings = settings
        self._height = Limits(*map(float, settings["healthy_z_range"]))
        self._angle = Limits(*map(float, settings["healthy_angle_range"]))

    def facts(self, observation: Sequence[float]) -> dict[str, FactValue]:
        """Return the quantities of one observation by name."""
        height, angle = observation[:2]
        forward, rise, turn = observation[self._velocities : self._velocities + 3]
        margin = self._angle.margin(angle)
        facts: dict[str, FactValue] = {
            _HEIGHT.fact: height,
            _LEAN.fact: math.degrees(angle),
            _FORWARD.fact: forward,
            _RISE.fact: rise,
            _TURN.fact: math.degrees(turn),
            "torso_height_margin_m": self._height.margin(height),
            "torso_angle_margin_deg": None if margin is None else math.degrees(margin),
            "within_limits": height in self._height and angle in self._angle,
        }
        facts |= self._threat(height, rise, angle, turn)
        for joint in self.joints:
            facts |= joint.facts(observation)
        return facts

    def sentence(self, facts: Facts) -> str:
        """Return the state caption."""
        lean, turn = _LEAN.side(facts), _TURN.side(facts)
        leaning = f"leans {_LEAN.size(facts)} {lean}" if lean else "stands upright"
        turning = f"turning {turn} at {self._speed(_TURN, facts)}" if turn else "not turning"
        moving = self._motion(_FORWARD, facts) or "neither forward nor backward"
        rising = self._motion(_RISE, facts) or "neither up nor down"
        joints = "; ".join(joint.phrase(facts) for joint in self.joints)
        return (
            f"The torso is {height_words(_HEIGHT, self._height, facts)}, and {leaning}"
            f"{self._angle_margin(facts)}, {turning}. {threat_words(facts, safe='It is upright.')} "
            f"It moves {moving} and {rising}. Joints: {joints}."
        )

    def changes(self, before: Facts, after: Facts) -> list[str]:
        """Return what a step changed, most important first."""
        faster = number(after, _FORWARD.fact) - number(before, _FORWARD.fact)
        righter = abs(number(before, _LEAN.fact)) - abs(number(after, _LEAN.fact))
        higher = number(after, _HEIGHT.fact) - number(before, _HEIGHT.fact)
        left = bool(before["within_limits"]) and not after["within_limits"]
        return [
            "left its limits" if left else "",
            change_words(_FORWARD, before, after, ("lost speed", "gained speed"), faster),
            change_words(_LEAN, before, after, ("tipped", "straightened up"), righter),
            change_words(_HEIGHT, before, after, ("sank", "rose"), higher),
        ]

    def rules(self) -> str:
        """Return what a player has to know, but for the time limit."""
        settings = self._settings
        return (
            f"{_SHAPES[self._env_id]} forward, along x, in a vertical plane, without falling. "
            f"A step lasts {settings['frame_skip'] * _TIMESTEP_S:g} s. An action is "
            f"{len(self.joints)} torques from -1 to 1, of {_GEARS[self._env_id]} N m, at these "
            f"joints: {', '.join(joint.name for joint in self.joints)}. Positive swings the thigh "
            "forward, stretches the knee and turns the toes up. The thigh swings up to 150 degrees "
            "back, the knee bends up to 150 degrees, the ankle turns up to 45 degrees up or down. "
            "A step earns "
            f"{settings['forward_reward_weight']:g} times the velocity along x in m/s, plus "
            f"{settings['healthy_reward']:g} within the limits, minus "
            f"{settings['ctrl_cost_weight']:g} times the sum of the squared torques of the action. "
            f"The limits: the height of the torso {self._height.words('m')}, its angle "
            f"{self._angle.words('degrees', math.degrees(1.0))}{self._other_limits()}."
        )

    def _threat(self, height: float, rise: float, angle: float, turn: float) -> Facts:
        """Return which limit is reached first at these velocities, and when."""
        ways = (
            (self._height.seconds(height, rise), "sinking too low", "rising too high"),
            (self._angle.seconds(angle, turn), "falling backward", "falling forward"),
        )
        named = zip(ways, (rise, turn), strict=True)
        coming = [(way[0], way[1 + (v > 0)]) for way, v in named if way[0] is not None]
        seconds, threat = min(coming, default=(None, "none"))
        soon = seconds is not None and seconds <= SOON_S
        return {"seconds_to_limit": seconds, "threat": threat if soon else "none"}

    def _angle_margin(self, facts: Facts) -> str:
        if facts["torso_angle_margin_deg"] is None:
            return ""
        margin = number(facts, "torso_angle_margin_deg")
        return f" ({abs(margin):.1f} degrees {'within' if margin >= 0 else 'past'} the limit)"

    def _motion(self, velocity: Quantity, facts: Facts) -> str:
        side = velocity.side(facts)
        return f"{side} at {self._speed(velocity, facts)}" if side else ""

    def _speed(self, velocity: Quantity, facts: Facts) -> str:
        clip = math.degrees(_CLIP) if velocity is _TURN else _CLIP
        return observed_size(velocity, facts, clip)

    def _other_limits(self) -> str:
        if "healthy_state_range" not in self._settings:
            return ""
        state = Limits(*map(float, self._settings["healthy_state_range"]))
        return (
            f", and every angle in rad and every velocity in m/s or rad/s {state.words('').strip()}"
        )
