"""Gymnasium's classic control in words, and what is worth doing there: judges, potentials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from llm_wrappers.captions.captioner import Facts, StateByState
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.layers import AnyEnv, actions_of, observed_of
from llm_wrappers.errors import (
    IncompatibleEnvironmentError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.worlds.classic.systems import SYSTEMS

__all__ = [
    "ClassicControlCaptioner",
    "cart_pole",
    "cart_pole_potential",
    "known_classic_control",
    "mountain_car",
    "mountain_car_potential",
    "pendulum",
    "pendulum_potential",
]

# Seconds ahead for which the lean of the pole is foreseen; our choice.
_FORESIGHT = 0.5
_NEAR_TOP_DEGREES = 40.0
_BALANCE_STIFFNESS, _BALANCE_DAMPING = 10.0, 2.0
# Gymnasium's pendulum: gravity 10, length 1, mass 1; the energy of standing upright is 0.
_GRAVITY = 10.0
_FEEBLE_TORQUE = 0.2
_UPRIGHT_DEGREES = 12.0
_TRACK_METRES = 2.4
_FASTEST_CAR = 0.07


class ClassicControlCaptioner(StateByState):
    """Speaks about the physics of one classic control environment.

    Facts carry their unit in their name, such as ``pole_angle_deg``, and hold exact numbers;
    captions round them. The rules are those of the environment as registered, with its default
    arguments and time limit.

    Args:
        env_id: ``"CartPole-v0"``, ``"CartPole-v1"``, ``"MountainCar-v0"``,
            ``"MountainCarContinuous-v0"``, ``"Acrobot-v1"`` or ``"Pendulum-v1"``.

    Raises:
        UnknownNameError: If the environment is not one of these.

    >>> captioner = ClassicControlCaptioner("CartPole-v1")
    >>> facts = captioner.facts(np.array([[0.12, -0.3, 0.0367, 0.21]]), {})
    >>> captioner.state_captions(facts)[0]
    'The cart is 0.12 m right of the centre, moving left at 0.30 m/s; the pole leans 2.1 degrees
    right and is falling right at 12 degrees/s.'
    """

    def __init__(self, env_id: str) -> None:
        if env_id not in SYSTEMS:
            raise UnknownNameError(
                f"env_id must be one of {', '.join(SYSTEMS)}, got {env_id!r}; "
                "GenericCaptioner works with any environment"
            )
        make_system, steps = SYSTEMS[env_id]
        self._system = make_system()
        self._description = EnvDescription(
            env_id=env_id,
            rules=self._system.rules.format(steps=steps),
            action_names=self._system.action_names,
        )

    def applies_to(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> bool:
        """Return whether these are still the spaces of the bare environment."""
        system = self._system
        return system.observation_space == observation_space and system.action_space == action_space

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> list[Facts]:
        """Return the quantities of each state by name.

        Args:
            observations: The numbers of n observations of the bare environment, shape (n, k).
            infos: Not read.

        Raises:
            InvalidOptionError: If the observations have another shape.
        """
        batch = np.asarray(observations, dtype=np.float64)
        shape = self._system.observation_space.shape
        if batch.ndim == 0 or batch.shape[1:] != shape:
            raise InvalidOptionError(
                f"observations of {self._description.env_id} must be a batch of the shape "
                f"(n, {shape[0] if shape else ''}), got {batch.shape}"
            )
        return [self._system.facts(row) for row in batch.tolist()]

    def _state(self, facts: Facts) -> str:
        return self._system.sentence(facts)

    def _transition(self, before: Facts, action: Any, after: Facts) -> str:
        return f"{self._action_words(action)}: {self._changes(before, after)}"

    def _action_words(self, action: Any) -> str:
        values = np.ravel(action)
        if values.size != 1:
            raise InvalidOptionError(f"each action must be one number, got {action!r}")
        if self._system.push is not None:
            return self._system.push(float(values[0]))
        return self._action_name(int(values[0]))

    def _changes(self, before: Facts, after: Facts) -> str:
        changes = [
            f"{quantity.label} went from {was} to {now}"
            for quantity in self._system.watched
            if (was := quantity.words(before)) != (now := quantity.words(after))
        ]
        return ", ".join(changes) or "nothing changed"


def known_classic_control(layers: Sequence[AnyEnv], env_id: str) -> ClassicControlCaptioner | None:
    """Return the captioner of a classic control environment, None where it is none.

    Raises:
        IncompatibleEnvironmentError: If `gymnasium.make_vec` wrapped each environment in its own
            process, where nobody can look.
    """
    if env_id not in SYSTEMS:
        return None
    base, captioner = layers[-1], ClassicControlCaptioner(env_id)
    if captioner.applies_to(observed_of(base), actions_of(base)):
        return captioner
    inside = base.spec.kwargs.get("wrappers") if base.spec and isinstance(base, VectorEnv) else None
    if inside:
        names = ", ".join(getattr(wrapper, "__name__", str(wrapper)) for wrapper in inside)
        raise IncompatibleEnvironmentError(
            f"expected the observations and actions of {env_id}, got others: wrappers=[{names}] "
            "of make_vec changed them in the processes of the environments. Wrap after guidance "
            "with gymnasium.wrappers.vector, or pass captioner=GenericCaptioner("
            "envs.single_observation_space, envs.single_action_space) to speak of what they show"
        )
    return None


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


def cart_pole_potential(facts: Mapping[str, Any]) -> float:
    """Return how upright the pole stands and how central the cart, at most 0."""
    lean = facts["pole_angle_deg"] + 0.5 * facts["pole_velocity_deg_per_s"]
    tipped = min(abs(lean) / _UPRIGHT_DEGREES, 1.0)
    off_centre = min(abs(facts["cart_position_m"]) / _TRACK_METRES, 1.0)
    return float(-tipped - 0.5 * off_centre)


def mountain_car_potential(facts: Mapping[str, Any]) -> float:
    """Return what of the climb is done already: height and motion."""
    height = math.sin(3 * facts["car_position_m"])
    return float(height + (facts["car_velocity_m_per_step"] / _FASTEST_CAR) ** 2)


def pendulum_potential(facts: Mapping[str, Any]) -> float:
    """Return the height of the tip, from -1 to 1."""
    return float(facts["tip_height_m"])


def _is_index(action: Any) -> bool:
    return np.asarray(action).dtype.kind in "iu"


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)
