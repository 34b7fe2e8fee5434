"""Reference judges of small environments: rules written by hand, not by a language model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from llm_wrappers.worlds.atari.pong_judge import ACTION_NAMES, atari_pong
from llm_wrappers.worlds.household.judge import household
from llm_wrappers.worlds.pocket_watch.judge import pocket_watch
from llm_wrappers.worlds.recsim.judge import interest_evolution

__all__ = [
    "REFERENCE_ACTIONS",
    "REFERENCE_RULES",
    "blackjack",
    "cart_pole",
    "frozen_lake",
    "mountain_car",
    "pendulum",
]

Rule: TypeAlias = "Callable[[Mapping[str, Any], Any], int]"

# Seconds ahead for which the lean of the pole is foreseen; our choice.
_FORESIGHT = 0.5
_NEAR_TOP_DEGREES = 40.0
_BALANCE_STIFFNESS, _BALANCE_DAMPING = 10.0, 2.0
# Gymnasium's pendulum: gravity 10, length 1, mass 1; the energy of standing upright is 0.
_GRAVITY = 10.0
_FEEBLE_TORQUE = 0.2
_DEALER_IS_WEAK = range(2, 7)


def cart_pole(facts: Mapping[str, Any], action: Any) -> int:
    """Judge a push: +1 if it goes where the pole is about to lean, else -1."""
    lean = facts["pole_angle_deg"] + _FORESIGHT * facts["pole_velocity_deg_per_s"]
    return 1 if (lean > 0) == (int(action) == 1) else -1


def mountain_car(facts: Mapping[str, Any], action: Any) -> int:
    """Judge an acceleration: +1 along the motion, -1 against it, 0 if there is neither."""
    force = float(np.ravel(action)[0])
    if _is_index(action):
        force -= 1.0  # 0 is left, 1 is not to accelerate, 2 is right
    return _sign(force) * _sign(facts["car_velocity_m_per_step"])


def pendulum(facts: Mapping[str, Any], action: Any) -> int:
    """Judge a torque by a controller that pumps energy below and balances near the top."""
    torque = float(np.ravel(action)[0])
    angle = math.radians(facts["pendulum_angle_deg"])
    speed = math.radians(facts["pendulum_velocity_deg_per_s"])
    if abs(facts["pendulum_angle_deg"]) < _NEAR_TOP_DEGREES:
        wanted = -(_BALANCE_STIFFNESS * angle + _BALANCE_DAMPING * speed)
    else:
        energy = speed**2 / 6 + _GRAVITY / 2 * (math.cos(angle) - 1)
        wanted = speed if energy < 0 else -speed
    if abs(torque) < _FEEBLE_TORQUE:
        return 0
    return _sign(torque) * _sign(wanted)


def blackjack(facts: Mapping[str, Any], action: Any) -> int:
    """Judge a decision by a rule of thumb: hit below 17, or below 12 if the dealer is weak."""
    hard_limit = 12 if facts["dealer_card"] in _DEALER_IS_WEAK else 17
    limit = 18 if facts["usable_ace"] else hard_limit
    return 1 if (int(action) == 1) == (facts["player_sum"] < limit) else -1


def frozen_lake(facts: Mapping[str, Any], action: Any) -> int:
    """Judge a move by what lies there: +1 for the goal, -1 for a hole, 0 for all else."""
    names = ("left", "down", "right", "up")
    return {"goal": 1, "hole": -1}.get(facts[f"tile_{names[int(action)]}"], 0)


REFERENCE_RULES: dict[str, Rule] = {
    "CartPole-v0": cart_pole,
    "CartPole-v1": cart_pole,
    "MountainCar-v0": mountain_car,
    "MountainCarContinuous-v0": mountain_car,
    "Pendulum-v1": pendulum,
    "Blackjack-v1": blackjack,
    "FrozenLake-v1": frozen_lake,
    "FrozenLake8x8-v1": frozen_lake,
    "ALE/Pong-v5": atari_pong,
    "llm_wrappers/PocketWatch-v0": pocket_watch,
    "llm_wrappers/Household-v0": household,
    "llm_wrappers/RecSimInterestEvolution-v0": interest_evolution,
}
"""Environment id -> rule."""

REFERENCE_ACTIONS: dict[str, tuple[str, ...]] = {"ALE/Pong-v5": ACTION_NAMES}
"""Environment id -> the only actions that its rule knows, where others are possible."""


def _is_index(action: Any) -> bool:
    return np.asarray(action).dtype.kind in "iu"


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)
