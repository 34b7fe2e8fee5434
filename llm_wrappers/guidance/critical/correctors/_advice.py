"""From an advised action to a critical state: what the state is, and whether the agent did it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.critical._advised_actions import check_advisable, fitted_action
from llm_wrappers.guidance.critical._closeness import Closeness
from llm_wrappers.guidance.critical.critical_state import CriticalState
from llm_wrappers.guidance.critical.moment import CriticalMoment
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["Advice", "episode_of", "facts_of", "split_part"]


class Advice:
    """Makes critical states of advised actions, for correctors.

    The reward is +1 if the agent did what is advised, else -1, which is our choice. Actions of a
    Box of floats agree if they are near enough in each dimension, as for
    `CriticalStateOverrideWrapper`.

    Args:
        action_space: Of one environment: a Box, Discrete, MultiDiscrete or MultiBinary.
        part: Which entry of a Dict observation the states are; None for other observations.
        tolerance: How far an action of a Box may be from the advice, as a share of its range, or
            where that is infinite in its units.

    Raises:
        IncompatibleEnvironmentError: If actions of this space cannot be advised.
        InvalidOptionError: If the tolerance is no finite number >= 0.

    >>> episode = Trajectory(np.array([[0.5], [0.7]]), np.array([1]), [1.0], True, False)
    >>> found = Advice(gym.spaces.Discrete(2)).critical_state([episode], CriticalMoment(0, 0), 0)
    >>> found.state, found.action, found.reward
    (array([0.5]), 0, -1.0)
    """

    def __init__(
        self, action_space: gym.Space[Any], *, part: str | None = None, tolerance: float = 0.1
    ) -> None:
        check_advisable(action_space)
        self._closeness = Closeness(action_space, tolerance)
        self.space, self.part = action_space, part

    def critical_state(
        self,
        trajectories: Sequence[Trajectory],
        moment: CriticalMoment,
        action: Any,
        *,
        rationale: str = "",
    ) -> CriticalState:
        """Return the critical state of a moment, with the advised action and its reward.

        Args:
            trajectories: The episodes.
            moment: One of their steps.
            action: The advised action; one of a Box is clipped to its bounds.
            rationale: Why, in words; goes behind that of the moment.

        Raises:
            InvalidOptionError: If there is no such step, the action is not of the action space, or
                `part` does not fit the observations.
        """
        trajectory = episode_of(trajectories, moment)
        advised = fitted_action(action, self.space, f"expected an action of {self.space}")
        done = np.asarray(trajectory.actions)[moment.step]
        agrees = self._closeness.agree(done[None], advised[None])[0]
        words = [text for text in (moment.rationale, rationale) if text]
        return CriticalState(
            self._state(trajectory, moment.step),
            int(advised) if isinstance(self.space, gym.spaces.Discrete) else advised,
            reward=1.0 if agrees else -1.0,
            rationale="; ".join(words),
            episode=moment.episode,
            step=moment.step,
        )

    def _state(self, trajectory: Trajectory, step: int) -> NDArray[Any]:
        observations = trajectory.observations
        if isinstance(observations, dict):
            if self.part not in observations:
                raise InvalidOptionError(
                    f"expected part to be one of the observation's {sorted(observations)}, got "
                    f"{self.part!r}; name the entry that tells states apart"
                )
            observations = observations[self.part]
        elif self.part is not None:
            raise InvalidOptionError(
                f"part={self.part!r} is only for Dict observations; leave it out"
            )
        if not isinstance(observations, np.ndarray):
            raise InvalidOptionError(
                "expected states that are one array, got a nested observation; flatten it with a "
                "wrapper before the episodes are recorded"
            )
        return np.array(observations[step])


def episode_of(trajectories: Sequence[Trajectory], moment: CriticalMoment) -> Trajectory:
    """Return the episode of a moment.

    Raises:
        InvalidOptionError: If there is no such episode, or it has no such step.
    """
    if moment.episode >= len(trajectories):
        raise InvalidOptionError(
            f"expected moments of the {len(trajectories)} episodes that were given, got one of "
            f"episode {moment.episode}; give those that the selector was given"
        )
    trajectory = trajectories[moment.episode]
    if moment.step >= len(trajectory):
        raise InvalidOptionError(
            f"expected a step of episode {moment.episode}, which has {len(trajectory)}, got step "
            f"{moment.step}; give the episodes that the selector was given"
        )
    return trajectory


def facts_of(trajectories: Sequence[Trajectory], moment: CriticalMoment) -> Any:
    """Return the facts of the state before a moment's action.

    Raises:
        InvalidOptionError: If there is no such step, or no facts were recorded.
    """
    trajectory = episode_of(trajectories, moment)
    if trajectory.facts is None:
        raise InvalidOptionError(
            f"expected episodes with facts, and episode {moment.episode} has none; record them "
            "with captions=True"
        )
    return trajectory.facts[moment.step]


def split_part(name: str) -> tuple[str, str | None]:
    """Return a name without the part of a Dict observation that stands at its end, and that part.

    >>> split_part("judge:reference?part=obs"), split_part("random")
    (('judge:reference', 'obs'), ('random', None))
    """
    front, mark, part = name.rpartition("?part=")
    return (front, part) if mark else (name, None)
