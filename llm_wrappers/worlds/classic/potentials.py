"""Reference potentials of small environments: how promising a state is, written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

__all__ = ["REFERENCE_POTENTIALS"]

_UPRIGHT_DEGREES = 12.0
_TRACK_METRES = 2.4
_FASTEST_CAR = 0.07


def _cart_pole(facts: Mapping[str, Any]) -> float:
    lean = facts["pole_angle_deg"] + 0.5 * facts["pole_velocity_deg_per_s"]
    tipped = min(abs(lean) / _UPRIGHT_DEGREES, 1.0)
    off_centre = min(abs(facts["cart_position_m"]) / _TRACK_METRES, 1.0)
    return float(-tipped - 0.5 * off_centre)


def _mountain_car(facts: Mapping[str, Any]) -> float:
    # Height and motion: what of the climb is done already.
    height = math.sin(3 * facts["car_position_m"])
    return float(height + (facts["car_velocity_m_per_step"] / _FASTEST_CAR) ** 2)


def _pendulum(facts: Mapping[str, Any]) -> float:
    return float(facts["tip_height_m"])


def _frozen_lake(facts: Mapping[str, Any], *, size: int) -> float:
    # The goal is at the bottom right.
    return float(facts["row"] + facts["column"]) / (2 * size - 2)


REFERENCE_POTENTIALS: dict[str, Callable[[Mapping[str, Any]], float]] = {
    "CartPole-v0": _cart_pole,
    "CartPole-v1": _cart_pole,
    "MountainCar-v0": _mountain_car,
    "MountainCarContinuous-v0": _mountain_car,
    "Pendulum-v1": _pendulum,
    "FrozenLake-v1": partial(_frozen_lake, size=4),
    "FrozenLake8x8-v1": partial(_frozen_lake, size=8),
}
"""Environment id -> rule from facts to a number; the lakes as registered."""
