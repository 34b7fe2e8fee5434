"""Ant of MuJoCo: a robot with four legs.

Legs are named by where they are when the robot faces forward, along x. Gymnasium's documentation
names three of them otherwise: its front right, back left and back right leg are at the back left,
back right and front right.
"""

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
    threat_words,
)

__all__ = ["AntBody"]

_TIMESTEP_S = 0.01
_GEAR = 150
_POSITIONS, _VELOCITIES = 13, 14

_HIP = JointWords(("back", "forward"), ("swinging back", "swinging forward"), ("back", "forward"))
_ANKLE = JointWords(("up", "down"), ("lifting", "lowering"), ("up", "down"))
# In the order of the observation, with the sign of hip and ankle in the simulator.
_LEGS = {"front left": (-1, 1), "back left": (-1, -1), "back right": (1, -1), "front right": (1, 1)}
_ACTION_ORDER = ("front right", "front left", "back left", "back right")

_HEIGHT = Quantity("torso_height_m", "height", "m", 2)
_TILT = Quantity("tilt_deg", "tilt", "degrees", 1)
_ROLL = Quantity("roll_deg", "roll", "degrees", 1, "to the left", "to the right")
_PITCH = Quantity("pitch_deg", "pitch", "degrees", 1, "nose up", "nose down")
_YAW = Quantity("yaw_deg", "heading", "degrees", 1, "right", "left")
_FORWARD = Quantity("forward_velocity_m_per_s", "velocity", "m/s", 2, "backward", "forward")
_SIDEWAYS = Quantity("sideways_velocity_m_per_s", "", "m/s", 2, "to the right", "to the left")
_RISE = Quantity("vertical_velocity_m_per_s", "", "m/s", 2, "down", "up")
_TURNS = (
    Quantity("roll_velocity_deg_per_s", "roll", "degrees/s", 0, "to the left", "to the right"),
    Quantity("pitch_velocity_deg_per_s", "pitch", "degrees/s", 0, "nose up", "nose down"),
    Quantity("yaw_velocity_deg_per_s", "heading", "degrees/s", 0, "right", "left"),
)


class AntBody:
    """A torso with four legs of hip and ankle.

    Args:
        env_id: ``"Ant-v5"``.
        settings: All keyword arguments of the environment that the rules depend on.
    """

    observation_size = _POSITIONS + _VELOCITIES + 13 * 6
    meaning = (
        "Forward is the direction of x, wherever the robot faces; left is the direction of y. "
        "Yaw is 0 when the robot faces forward and positive to the left; then it is pitched "
        "(positive: nose down), then rolled (positive: to the right). Tilt is the angle "
        "between the robot's up and the world's, 180 when upside down. Velocities of roll, pitch "
        "and yaw are around the axes of the torso itself. A hip angle is positive when the leg is "
        "swung forward, an ankle angle is positive when the foot is bent down. The height margin "
        "is the distance to the nearer limit, negative outside."
    )

    def __init__(self, env_id: str, settings: Mapping[str, Any]) -> None:
        pairs = {name: _leg(index, name, *_LEGS[name]) for index, name in enumerate(_LEGS)}
        self.joints = tuple(joint for name in _ACTION_ORDER for joint in pairs[name])
        self._spoken = tuple(joint for pair in pairs.values() for joint in pair)
        self._settings = settings
        self._height = Limits(*map(float, settings["healthy_z_range"]))

    def facts(self, observation: Sequence[float]) -> dict[str, FactValue]:
        """Return the quantities of one observation by name."""
        height = observation[0]
        velocities = observation[_POSITIONS : _POSITIONS + _VELOCITIES]
        rise = velocities[2]
        facts: dict[str, FactValue] = {
            _HEIGHT.fact: height,
            **_orientation(observation[1:5]),
            _FORWARD.fact: velocities[0],
            _SIDEWAYS.fact: velocities[1],
            _RISE.fact: rise,
        }
        for turn, velocity in zip(_TURNS, velocities[3:6], strict=True):
            facts[turn.fact] = math.degrees(velocity)
        moving = all(map(math.isfinite, observation[: _POSITIONS + _VELOCITIES]))
        seconds = self._height.seconds(height, rise)
        soon = seconds is not None and seconds <= SOON_S
        facts |= {
            "torso_height_margin_m": self._height.margin(height),
            "within_limits": moving and self._height.low <= height <= self._height.high,
            "seconds_to_limit": seconds,
            "threat": ("rising too high" if rise > 0 else "sinking too low") if soon else "none",
        }
        for joint in self._spoken:
            facts |= joint.facts(observation)
        return facts | self._contacts(observation[_POSITIONS + _VELOCITIES :])

    def sentence(self, facts: Facts) -> str:
        """Return the state caption."""
        turning = [
            f"{turn.label} {turn.size(facts)} {turn.side(facts)}"
            for turn in _TURNS
            if turn.side(facts)
        ]
        joints = "; ".join(joint.phrase(facts) for joint in self._spoken)
        return (
            f"The torso is {height_words(_HEIGHT, self._height, facts)}. "
            f"{threat_words(facts, safe='Its height is safe.')} {_posture(facts)} It turns: "
            f"{', '.join(turning) or 'not at all'}. It moves {_motion(facts)}. {_ground(facts)} "
            f"Joints: {joints}."
        )

    def changes(self, before: Facts, after: Facts) -> list[str]:
        """Return what a step changed, most important first."""
        faster = number(after, _FORWARD.fact) - number(before, _FORWARD.fact)
        righter = number(before, _TILT.fact) - number(after, _TILT.fact)
        higher = number(after, _HEIGHT.fact) - number(before, _HEIGHT.fact)
        left = bool(before["within_limits"]) and not after["within_limits"]
        return [
            "left its limits" if left else "",
            change_words(_FORWARD, before, after, ("lost speed", "gained speed"), faster),
            change_words(_TILT, before, after, ("tipped", "straightened up"), righter),
            change_words(_HEIGHT, before, after, ("sank", "rose"), higher),
            *(
                f"{'set down' if after[fact] else 'lifted'} the {leg} leg"
                for leg, fact in ((leg, _contact_fact(leg)) for leg in _LEGS)
                if before[fact] != after[fact]
            ),
        ]

    def rules(self) -> str:
        """Return what a player has to know, but for the time limit."""
        settings = self._settings
        low, high = settings["contact_force_range"]
        return (
            "A robot with a round torso and four legs, each with a hip and an ankle, is to walk "
            f"forward, along x. A step lasts {settings['frame_skip'] * _TIMESTEP_S:g} s. An action "
            f"is {len(self.joints)} torques from -1 to 1, of {_GEAR} N m, at these joints: "
            f"{', '.join(joint.name for joint in self.joints)}. Positive swings the legs on the "
            "left back and those on the right forward; it bends the front ankles down and "
            "lifts those at the back. A hip swings up to 30 degrees back or forward, an ankle is "
            "30 to 70 degrees down. A step earns "
            f"{settings['forward_reward_weight']:g} times the velocity along x in m/s, plus "
            f"{settings['healthy_reward']:g} within the limits, minus "
            f"{settings['ctrl_cost_weight']:g} times the sum of the squared torques of the action, "
            f"minus {settings['contact_cost_weight']:g} times the sum of the squared contact "
            f"forces and torques, each clipped to {low:g}..{high:g}. The limits: the height of the "
            f"torso {self._height.words('m')}. A robot that lies upside down is within them."
        )

    def _contacts(self, forces: Sequence[float]) -> dict[str, FactValue]:
        """Return what touches the ground: six forces for the torso, then for three parts per leg.

        The only thing that the robot collides with is the ground.
        """
        touches = [any(forces[part : part + 6]) for part in range(0, len(forces), 6)]
        legs = {
            _contact_fact(leg): any(touches[1 + 3 * index : 4 + 3 * index])
            for index, leg in enumerate(_LEGS)
        }
        cost = self._settings["contact_cost_weight"] * sum(force * force for force in forces)
        return {"torso_on_ground": touches[0], **legs, "contact_cost": float(cost)}


def _leg(index: int, name: str, hip: int, ankle: int) -> tuple[Joint, Joint]:
    # Height and quaternion come first; velocities begin with six of the torso.
    angle, velocity = 5 + 2 * index, _POSITIONS + 6 + 2 * index
    return (
        Joint(f"{name} hip", angle, velocity, _HIP, hip),
        Joint(f"{name} ankle", angle + 1, velocity + 1, _ANKLE, ankle),
    )


def _contact_fact(leg: str) -> str:
    return f"{leg.replace(' ', '_')}_leg_on_ground"


def _orientation(quaternion: Sequence[float]) -> dict[str, FactValue]:
    """Return roll, pitch, yaw and tilt of a quaternion (w, x, y, z) of any length."""
    # Noise at the reset leaves it a length other than 1; the simulator normalises it as well.
    length = math.hypot(*quaternion)
    w, x, y, z = (part / length for part in quaternion) if length else (1.0, 0.0, 0.0, 0.0)
    sine = min(max(2 * (w * y - z * x), -1.0), 1.0)
    up = min(max(1 - 2 * (x * x + y * y), -1.0), 1.0)
    return {
        _ROLL.fact: math.degrees(math.atan2(2 * (w * x + y * z), up)),
        _PITCH.fact: math.degrees(math.asin(sine)),
        _YAW.fact: math.degrees(math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))),
        _TILT.fact: math.degrees(math.acos(up)),
    }


def _posture(facts: Facts) -> str:
    yaw = _YAW.rounded(facts)
    facing = f"{_YAW.size(facts)} {_YAW.side(facts)} of forward" if yaw else "straight forward"
    facing = "straight backward" if abs(yaw) == 180 else facing
    parts = [
        f"{angle.label} {angle.size(facts)} {angle.side(facts)}"
        for angle in (_ROLL, _PITCH)
        if angle.side(facts)
    ]
    stance = "upside down" if number(facts, _TILT.fact) > 90 else "the right way up"
    tilts = f", {', '.join(parts)}" if parts else ""
    return f"It is {stance}, tilted {_TILT.size(facts)}{tilts}, and faces {facing}."


def _motion(facts: Facts) -> str:
    parts = [
        f"{velocity.side(facts)} at {velocity.size(facts)}"
        for velocity in (_FORWARD, _SIDEWAYS, _RISE)
        if velocity.side(facts)
    ]
    return ", ".join(parts) or "not at all"


def _ground(facts: Facts) -> str:
    parts = [f"{leg} leg" for leg in _LEGS if facts[_contact_fact(leg)]]
    parts += ["torso"] if facts["torso_on_ground"] else []
    cost = f" (cost {number(facts, 'contact_cost'):.4f})" if parts else ""
    return f"On the ground: {', '.join(parts) or 'nothing'}{cost}."
