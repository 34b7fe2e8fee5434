"""Advice drawn at random: the control that every corrector has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers import checks
from llm_wrappers.guidance.critical.correctors._advice import Advice
from llm_wrappers.guidance.critical.critical_state import CriticalState
from llm_wrappers.guidance.critical.moment import CriticalMoment
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["RandomCorrector"]


class RandomCorrector:
    """Advises a random action, for ablations: same plumbing, no knowledge.

    The action depends on the seed, the episode and the step, and on nothing else. The reward of a
    critical state is +1 if the agent did what is advised, else -1; our choice.

    Args:
        action_space: Of one environment; it is not changed.
        seed: Another seed advises other actions, at least 0.
        part: Which entry of a Dict observation the states are; None for other observations.
        tolerance: How far an action of a Box may be from the advice and still agree with it, in
            each dimension, as a share of its range, or where that is infinite in its units. Our
            choice.

    Raises:
        IncompatibleEnvironmentError: If actions of this space cannot be advised.
        InvalidOptionError: If an option is outside what is documented.

    >>> episode = Trajectory(np.zeros((2, 4)), np.array([0]), [1.0], True, False)
    >>> corrector = RandomCorrector(gym.spaces.Discrete(2), seed=1)
    >>> corrector.correct([episode], [CriticalMoment(0, 0)])[0].action in (0, 1)
    True
    """

    def __init__(
        self,
        action_space: gym.Space[Any],
        *,
        seed: int = 0,
        part: str | None = None,
        tolerance: float = 0.1,
    ) -> None:
        checks.whole("seed", seed, least=0)
        self.seed = seed
        self._advice = Advice(action_space, part=part, tolerance=tolerance)
        # Seeding a space changes it, and this one is somebody else's.
        self._space = deepcopy(action_space)

    def correct(
        self, trajectories: Sequence[Trajectory], moments: Sequence[CriticalMoment]
    ) -> list[CriticalState | None]:
        """Return a random action for each moment.

        Raises:
            InvalidOptionError: If a moment is not of these episodes, or `part` does not fit.
        """
        return [
            self._advice.critical_state(trajectories, moment, self._drawn(moment))
            for moment in moments
        ]

    def _drawn(self, moment: CriticalMoment) -> Any:
        place = np.random.SeedSequence([self.seed, moment.episode, moment.step])
        self._space.seed(int(place.generate_state(1)[0]))
        return self._space.sample()
