"""What a caption needs to know about a physical system: its quantities, rules and sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from llm_wrappers.captions.captioner import Facts, FactValue
from llm_wrappers.captions.quantity import Quantity

__all__ = ["SYSTEMS", "System"]


@dataclass(frozen=True, kw_only=True)
class System:
    """What distinguishes one classic control environment from the others.

    Args:
        observation_space: The space of the bare environment.
        action_space: The action space of the bare environment.
        rules: What a player has to know; ``{steps}`` is the time limit.
        facts: From the numbers of one observation to facts.
        sentence: From facts to the state caption.
        watched: The quantities that a transition caption follows.
        action_names: One name per discrete action.
        push: From the number of a continuous action to what it does.
    """

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    rules: str
    facts: Callable[[Sequence[float]], dict[str, FactValue]]
    sentence: Callable[[Facts], str]
    watched: tuple[Quantity, ...]
    action_names: tuple[str, ...] = ()
    push: Callable[[float], str] | None = None


_MOUNTAIN_CAR_FLOOR = -math.pi / 6  # the lowest point of the track, sin(3 x)
_ACROBOT_TARGET = 1.0  # height of the tip above the pivot that ends the episode, in m


def _box(*high: float, low: Sequence[float] | None = None) -> spaces.Box:
    top = np.array(high, dtype=np.float32)
    return spaces.Box(-top if low is None else np.array(low, dtype=np.float32), top)


_CART = Quantity("cart_position_m", "cart position", "m", 2, "left", "right")
_CART_SPEED = Quantity("cart_velocity_m_per_s", "cart velocity", "m/s", 2, "left", "right")
_POLE = Quantity("pole_angle_deg", "pole angle", "degrees", 1, "left", "right")
_POLE_SPEED = Quantity("pole_velocity_deg_per_s", "pole velocity", "degrees/s", 0, "left", "right")


def _cart_pole_facts(observation: Sequence[float]) -> dict[str, FactValue]:
    position, velocity, angle, turn = observation
    facts: dict[str, FactValue] = {
        _CART.fact: position,
        _CART_SPEED.fact: velocity,
        _POLE.fact: math.degrees(angle),
        _POLE_SPEED.fact: math.degrees(turn),
    }
    return facts | {
        "cart_side": _CART.side(facts) or "centre",
        "pole_lean": _POLE.side(facts) or "upright",
    }


def _cart_pole_sentence(facts: Facts) -> str:
    side, motion = _CART.side(facts), _CART_SPEED.side(facts)
    lean, turn = _POLE.side(facts), _POLE_SPEED.side(facts)
    where = f"{_CART.size(facts)} {side} of the centre" if side else "at the centre"
    moving = f"moving {motion} at {_CART_SPEED.size(facts)}" if motion else "standing still"
    leaning = f"leans {_POLE.size(facts)} {lean}" if lean else "stands upright"
    # With no lean left, any turn is the beginning of a fall.
    verb = "falling" if lean in ("", turn) else "swinging back"
    turning = f"{verb} {turn} at {_POLE_SPEED.size(facts)}" if turn else "not turning"
    return f"The cart is {where}, {moving}; the pole {leaning} and is {turning}."


def _cart_pole() -> System:
    return System(
        observation_space=_box(4.8, np.inf, 2 * math.radians(12), np.inf),
        action_space=spaces.Discrete(2),
        action_names=("push left", "push right"),
        facts=_cart_pole_facts,
        sentence=_cart_pole_sentence,
        watched=(_CART_SPEED, _POLE),
        rules=(
            "A pole is hinged on a cart that slides on a track without friction. Each step of "
            "0.02 s pushes the cart left or right with 10 N; there is no way not to push. Pushing "
            "the cart to one side tips the pole to the other side. Each step earns a reward of 1. "
            "The episode ends when the pole leans more than 12 degrees, when the cart is more than "
            "2.4 m from the centre, or after {steps} steps. In the facts, positive is right."
        ),
    )


_CAR = Quantity("car_position_m", "car position", "m", 2)
_CAR_SPEED = Quantity("car_velocity_m_per_step", "car velocity", "m per step", 3, "left", "right")
_FLAG = Quantity("distance_to_flag_m", "distance to the flag", "m", 2, "past", "left of")


def _mountain_car_facts(observation: Sequence[float], *, flag: float) -> dict[str, FactValue]:
    position, velocity = observation
    from_floor = round(position - _MOUNTAIN_CAR_FLOOR, 2)
    slope = "left slope" if from_floor < 0 else "right slope" if from_floor else "valley floor"
    return {
        _CAR.fact: position,
        _CAR_SPEED.fact: velocity,
        _FLAG.fact: flag - position,
        "slope": slope,
    }


def _mountain_car_sentence(facts: Facts) -> str:
    side, motion = _FLAG.side(facts), _CAR_SPEED.side(facts)
    where = f"{_FLAG.size(facts)} {side} the flag" if side else "at the flag"
    slope = str(facts["slope"])
    grade = (
        "" if slope == "valley floor" else " uphill" if slope.startswith(motion) else " downhill"
    )
    moving = f"moving {motion}{grade} at {_CAR_SPEED.size(facts)}" if motion else "standing still"
    return f"The car is at {_CAR.words(facts)} on the {slope}, {where}, {moving}."


_MOUNTAIN_CAR_RULES = (
    "A car stands in a valley between two hills and is to reach the flag at {flag} m on the right "
    "hill. The engine is too weak to drive straight up: swing back and forth to gather speed. The "
    "position runs from -1.2 m, a wall that stops the car, to 0.6 m; the valley floor is at "
    "-0.52 m; the speed is at most 0.07 m per step. {reward} The episode ends at the flag or after "
    "{{steps}} steps. In the facts, positive is right."
)


def _mountain_car() -> System:
    return System(
        observation_space=_box(0.6, 0.07, low=(-1.2, -0.07)),
        action_space=spaces.Discrete(3),
        action_names=("accelerate left", "do not accelerate", "accelerate right"),
        facts=partial(_mountain_car_facts, flag=0.5),
        sentence=_mountain_car_sentence,
        watched=(_CAR, _CAR_SPEED),
        rules=_MOUNTAIN_CAR_RULES.format(flag=0.5, reward="Each step costs a reward of -1."),
    )


def _car_push(force: float) -> str:
    force = round(min(max(force, -1.0), 1.0), 2)
    side = "left" if force < 0 else "right"
    return (
        f"accelerate {side} with {abs(force):.0%} of full force" if force else "do not accelerate"
    )


def _mountain_car_continuous() -> System:
    reward = (
        "An action is a force from -1 (full left) to 1 (full right) and costs a reward of 0.1 "
        "times its square; reaching the flag earns 100."
    )
    return System(
        observation_space=_box(0.6, 0.07, low=(-1.2, -0.07)),
        action_space=_box(1.0),
        push=_car_push,
        facts=partial(_mountain_car_facts, flag=0.45),
        sentence=_mountain_car_sentence,
        watched=(_CAR, _CAR_SPEED),
        rules=_MOUNTAIN_CAR_RULES.format(flag=0.45, reward=reward),
    )


_UPPER = Quantity("upper_link_angle_deg", "upper link", "degrees", 0, "left", "right")
_LOWER = Quantity(
    "lower_link_angle_deg", "lower link", "degrees", 0, "clockwise", "counter-clockwise"
)
_UPPER_SPEED = Quantity(
    "upper_link_velocity_deg_per_s", "", "degrees/s", 0, "clockwise", "counter-clockwise"
)
_LOWER_SPEED = Quantity(
    "lower_link_velocity_deg_per_s", "", "degrees/s", 0, "clockwise", "counter-clockwise"
)
_TIP = Quantity("tip_height_m", "tip height", "m", 2, "below the pivot", "above the pivot")
_MISSING = Quantity("tip_to_target_m", "", "m", 2, "above", "below")


def _acrobot_facts(observation: Sequence[float]) -> dict[str, FactValue]:
    cos_1, sin_1, cos_2, sin_2, turn_1, turn_2 = observation
    upper, lower = math.atan2(sin_1, cos_1), math.atan2(sin_2, cos_2)
    height = -math.cos(upper) - math.cos(upper + lower)
    return {
        _UPPER.fact: math.degrees(upper),
        _LOWER.fact: math.degrees(lower),
        _UPPER_SPEED.fact: math.degrees(turn_1),
        _LOWER_SPEED.fact: math.degrees(turn_2),
        _TIP.fact: height,
        _MISSING.fact: _ACROBOT_TARGET - height,
    }


def _turning(speed: Quantity, facts: Facts) -> str:
    side = speed.side(facts)
    return f"turning {side} at {speed.size(facts)}" if side else "not turning"


def _acrobot_sentence(facts: Facts) -> str:
    upper, lower, missing = _UPPER.side(facts), _LOWER.side(facts), _MISSING.side(facts)
    points = f"{_UPPER.size(facts)} {upper} of straight down" if upper else "straight down"
    if abs(_UPPER.rounded(facts)) == 180:
        points = "straight up"
    bent = f"is bent {_LOWER.size(facts)} {lower} from it" if lower else "continues it straight"
    height = _TIP.words(facts) if _TIP.side(facts) else "level with the pivot"
    target = f"{_MISSING.size(facts)} {missing} the target height" if missing else "at the target"
    return (
        f"The upper link points {points}, {_turning(_UPPER_SPEED, facts)}; the lower link {bent}, "
        f"{_turning(_LOWER_SPEED, facts)}; the tip is {height}, {target}."
    )


def _acrobot() -> System:
    return System(
        observation_space=_box(1.0, 1.0, 1.0, 1.0, 4 * math.pi, 9 * math.pi),
        action_space=spaces.Discrete(3),
        action_names=(
            "apply clockwise torque",
            "apply no torque",
            "apply counter-clockwise torque",
        ),
        facts=_acrobot_facts,
        sentence=_acrobot_sentence,
        watched=(_UPPER, _TIP),
        rules=(
            "Two links of 1 m hang in a chain from a fixed pivot. A motor at the joint between "
            "them applies a torque of 1 N m to the lower link in either direction, or none; the "
            "pivot itself is free. Swing the free tip more than 1 m above the pivot. The motor is "
            "too weak to lift the chain at once: pump it like a swing. Each step of 0.2 s costs a "
            "reward of -1 until then. The episode ends at the target height or after {steps} "
            "steps. In the facts, the upper angle is 0 when that link hangs down, the lower angle "
            "is measured from the upper link, and counter-clockwise is positive."
        ),
    )


_PENDULUM = Quantity("pendulum_angle_deg", "angle", "degrees", 0, "right", "left")
_PENDULUM_SPEED = Quantity(
    "pendulum_velocity_deg_per_s",
    "angular velocity",
    "degrees/s",
    0,
    "clockwise",
    "counter-clockwise",
)


def _pendulum_facts(observation: Sequence[float]) -> dict[str, FactValue]:
    cosine, sine, turn = observation
    return {
        _PENDULUM.fact: math.degrees(math.atan2(sine, cosine)),
        _PENDULUM_SPEED.fact: math.degrees(turn),
        "tip_height_m": cosine,
    }


def _pendulum_sentence(facts: Facts) -> str:
    angle, turn = _PENDULUM.rounded(facts), _PENDULUM_SPEED.rounded(facts)
    points = f"{_PENDULUM.size(facts)} {_PENDULUM.side(facts)} of straight up"
    points = "straight down" if abs(angle) == 180 else points if angle else "straight up"
    rising = abs(angle) == 180 or angle * turn < 0
    swing = f"{'rising' if rising else 'falling'} {_PENDULUM_SPEED.side(facts)}"
    moving = f"{swing} at {_PENDULUM_SPEED.size(facts)}" if turn else "standing still"
    return f"The pendulum points {points}, {moving}."


def _pendulum_push(torque: float) -> str:
    torque = round(min(max(torque, -2.0), 2.0), 2)
    side = "clockwise" if torque < 0 else "counter-clockwise"
    return f"apply {abs(torque):.2f} N m {side}" if torque else "apply no torque"


def _pendulum() -> System:
    return System(
        observation_space=_box(1.0, 1.0, 8.0),
        action_space=_box(2.0),
        push=_pendulum_push,
        facts=_pendulum_facts,
        sentence=_pendulum_sentence,
        watched=(_PENDULUM, _PENDULUM_SPEED),
        rules=(
            "A rod of 1 m and 1 kg turns freely around one fixed end. Swing it up and keep it "
            "upright. An action is a torque from -2 N m (clockwise) to 2 N m (counter-clockwise); "
            "the motor is too weak to lift the rod at once: swing it back and forth. A step lasts "
            "0.05 s and earns -(a^2 + 0.1 w^2 + 0.001 u^2), with the angle a from upright in rad, "
            "the angular velocity w in rad/s and the torque u in N m. The episode lasts {steps} "
            "steps. In the facts, the angle is 0 when upright, and counter-clockwise is positive."
        ),
    )


# Environment id to the system and its time limit in steps.
SYSTEMS: dict[str, tuple[Callable[[], System], int]] = {
    "CartPole-v0": (_cart_pole, 200),
    "CartPole-v1": (_cart_pole, 500),
    "MountainCar-v0": (_mountain_car, 200),
    "MountainCarContinuous-v0": (_mountain_car_continuous, 999),
    "Acrobot-v1": (_acrobot, 500),
    "Pendulum-v1": (_pendulum, 200),
}
