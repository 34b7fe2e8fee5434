"""Captions of Gymnasium's classic control environments, with units and directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers.captions.captioner import Facts
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.worlds.classic.classic_systems import SYSTEMS

__all__ = ["ClassicControlCaptioner"]


class ClassicControlCaptioner:
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

    @property
    def description(self) -> EnvDescription:
        """The rules, with units and signs, and the names of discrete actions; no goals."""
        return self._description

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

    def state_captions(self, facts: Sequence[Facts]) -> list[str]:
        """Return one sentence about positions, angles and motion in each state."""
        return [self._system.sentence(row) for row in facts]

    def transition_captions(
        self, before: Sequence[Facts], actions: Sequence[Any], after: Sequence[Facts]
    ) -> list[str]:
        """Return each action by name, and what it did to the quantities that matter most.

        Args:
            before: The facts of n states.
            actions: The n actions: indices, or arrays of shape (1,) where actions are continuous.
            after: The facts of the n states that followed.

        Raises:
            InvalidOptionError: If an action is not in the action space.
        """
        return [
            f"{self._action_words(action)}: {self._changes(old, new)}"
            for old, action, new in zip(before, actions, after, strict=True)
        ]

    def _action_words(self, action: Any) -> str:
        values = np.ravel(action)
        if values.size != 1:
            raise InvalidOptionError(f"each action must be one number, got {action!r}")
        if self._system.push is not None:
            return self._system.push(float(values[0]))
        names = self._description.action_names
        index = int(values[0])
        if not 0 <= index < len(names):
            raise InvalidOptionError(f"actions must be 0..{len(names) - 1}, got {action!r}")
        return names[index]

    def _changes(self, before: Facts, after: Facts) -> str:
        changes = [
            f"{quantity.label} went from {was} to {now}"
            for quantity in self._system.watched
            if (was := quantity.words(before)) != (now := quantity.words(after))
        ]
        return ", ".join(changes) or "nothing changed"
