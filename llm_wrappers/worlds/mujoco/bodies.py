"""Hopper, Walker2d and Ant of MuJoCo: what one observation says of the body.

The legs of Ant are named by where they are when the robot faces forward, along x. Gymnasium's
documentation names three of them otherwise: its front right, back left and back right leg are at
the back left, back right and front right.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from llm_wrappers.captions.captioner import Facts, FactValue
from llm_wrappers.captions.quantity import Quantity
from llm_wrappers.worlds.mujoco.parts import (
    SOON_S,
    Joint,
    JointWords,
    Limits,
    change_words,
    height_words,
    number,
    observed_size,
    threat_words,
)

__all__ = ["AntBody", "Body", "PlanarBody"]


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


class Body(ABC):
    """One robot, with the settings that its environment was made with.

    Args:
        env_id: Its Gymnasium id.
        settings: All keyword arguments of the environment that the rules depend on.
    """

    observation_size: int
    joints: tuple[Joint, ...]
    """In the order of the action."""
    meaning: str
    """What the facts mean."""
    tilt: Quantity
    """How far the robot leans."""

    def __init__(self, env_id: str, settings: Mapping[str, Any]) -> None:
        self._env_id, self._settings = env_id, settings
        self._height = Limits(*map(float, settings["healthy_z_range"]))

    @abstractmethod
    def facts(self, observation: Sequence[float]) -> dict[str, FactValue]:
        """Return the quantities of one observation by name."""

    @abstractmethod
    def sentence(self, facts: Facts) -> str:
        """Return the state caption."""

    @abstractmethod
    def rules(self) -> str:
        """Return what a player has to know, but for the time limit."""

    def changes(self, before: Facts, after: Facts) -> list[str]:
        """Return what a step changed, most important first."""
        lean = self.tilt.fact
        faster = number(after, _FORWARD.fact) - number(before, _FORWARD.fact)
        righter = abs(number(before, lean)) - abs(number(after, lean))
        higher = number(after, _HEIGHT.fact) - number(before, _HEIGHT.fact)
        left = bool(before["within_limits"]) and not after["within_limits"]
        return [
            "left its limits" if left else "",
            change_words(_FORWARD, before, after, ("lost speed", "gained speed"), faster),
            change_words(self.tilt, before, after, ("tipped", "straightened up"), righter),
            change_words(_HEIGHT, before, after, ("sank", "rose"), higher),
        ]

    def _earned(self) -> str:
        settings = self._settings
        return (
            f"A step earns {settings['forward_reward_weight']:g} times the velocity along x in "
            f"m/s, plus {settings['healthy_reward']:g} within the limits, minus "
            f"{settings['ctrl_cost_weight']:g} times the sum of the squared torques of the action"
        )


class PlanarBody(Body):
    """A robot of one torso and one or two legs of hip, knee and ankle.

    Args:
        env_id: ``"Hopper-v5"`` or ``"Walker2d-v5"``.
        settings: All keyword arguments of the environment that the rules depend on.
    """

    tilt = _LEAN
    meaning = (
        "Positive is forward: the torso leans forward, the thigh is in front of the torso's line, "
        "the robot moves along x. A knee angle is 0 when stretched and negative when bent; an "
        "ankle angle is 0 when the foot is at a right angle to the leg and positive when the toes "
        "are higher. Margins are distances to the nearer limit, negative outside. Velocities are "
        "observed up to 10 m/s and 10 rad/s (573 degrees/s) only."
    )

    def __init__(self, env_id: str, settings: Mapping[str, Any]) -> None:
        super().__init__(env_id, settings)
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
            f"{self._earned()}. The limits: the height of the torso {self._height.words('m')}, "
            f"its angle {self._angle.words('degrees', math.degrees(1.0))}{self._other_limits()}."
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


_ANT_TIMESTEP_S = 0.01
_GEAR = 150
_POSITIONS, _VELOCITIES = 13, 14

_ANT_HIP = JointWords(
    ("back", "forward"), ("swinging back", "swinging forward"), ("back", "forward")
)
_ANT_ANKLE = JointWords(("up", "down"), ("lifting", "lowering"), ("up", "down"))
# In the order of the observation, with the sign of hip and ankle in the simulator.
_LEGS = {"front left": (-1, 1), "back left": (-1, -1), "back right": (1, -1), "front right": (1, 1)}
_ACTION_ORDER = ("front right", "front left", "back left", "back right")

_TILT = Quantity("tilt_deg", "tilt", "degrees", 1)
_ROLL = Quantity("roll_deg", "roll", "degrees", 1, "to the left", "to the right")
_PITCH = Quantity("pitch_deg", "pitch", "degrees", 1, "nose up", "nose down")
_YAW = Quantity("yaw_deg", "heading", "degrees", 1, "right", "left")
_SIDEWAYS = Quantity("sideways_velocity_m_per_s", "", "m/s", 2, "to the right", "to the left")
_TURNS = (
    Quantity("roll_velocity_deg_per_s", "roll", "degrees/s", 0, "to the left", "to the right"),
    Quantity("pitch_velocity_deg_per_s", "pitch", "degrees/s", 0, "nose up", "nose down"),
    Quantity("yaw_velocity_deg_per_s", "heading", "degrees/s", 0, "right", "left"),
)


class AntBody(Body):
    """A torso with four legs of hip and ankle.

    Args:
        env_id: ``"Ant-v5"``.
        settings: All keyword arguments of the environment that the rules depend on.
    """

    tilt = _TILT
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
        super().__init__(env_id, settings)
        pairs = {name: _leg(index, name, *_LEGS[name]) for index, name in enumerate(_LEGS)}
        self.joints = tuple(joint for name in _ACTION_ORDER for joint in pairs[name])
        self._spoken = tuple(joint for pair in pairs.values() for joint in pair)

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
        steps = [
            f"{'set down' if after[fact] else 'lifted'} the {leg} leg"
            for leg, fact in ((leg, _contact_fact(leg)) for leg in _LEGS)
            if before[fact] != after[fact]
        ]
        return [*super().changes(before, after), *steps]

    def rules(self) -> str:
        """Return what a player has to know, but for the time limit."""
        settings = self._settings
        low, high = settings["contact_force_range"]
        return (
            "A robot with a round torso and four legs, each with a hip and an ankle, is to walk "
            f"forward, along x. A step lasts {settings['frame_skip'] * _ANT_TIMESTEP_S:g} s. An "
            f"action is {len(self.joints)} torques from -1 to 1, of {_GEAR} N m, at these joints: "
            f"{', '.join(joint.name for joint in self.joints)}. Positive swings the legs on the "
            "left back and those on the right forward; it bends the front ankles down and "
            "lifts those at the back. A hip swings up to 30 degrees back or forward, an ankle is "
            f"30 to 70 degrees down. {self._earned()}, minus "
            f"{settings['contact_cost_weight']:g} times the sum of the squared contact forces and "
            f"torques, each clipped to {low:g}..{high:g}. The limits: the height of the torso "
            f"{self._height.words('m')}. A robot that lies upside down is within them."
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
        Joint(f"{name} hip", angle, velocity, _ANT_HIP, hip),
        Joint(f"{name} ankle", angle + 1, velocity + 1, _ANT_ANKLE, ankle),
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
