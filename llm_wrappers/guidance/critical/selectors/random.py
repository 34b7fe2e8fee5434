"""Moments drawn at random: the control that every selector has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.guidance.critical.moment import CriticalMoment
from llm_wrappers.guidance.critical.selectors._picking import moments_of
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["RandomSelector"]


class RandomSelector:
    """Picks steps uniformly at random, without replacement.

    In RICE (arXiv 2405.03064, table 1) random states reach most of what explained ones do, so a
    selector says little until it was compared with this one.

    The draw depends on the seed and the number of the episode, and on nothing else: asking twice
    gives the same moments.

    Args:
        seed: Another seed picks others, at least 0.
        min_gap: How many steps two moments of an episode are apart at least; with more than 1 the
            steps are no longer uniform.

    Raises:
        InvalidOptionError: If an option is outside what is documented.

    >>> episode = Trajectory(np.zeros((9, 2)), np.zeros(8), np.ones(8), True, False)
    >>> moments = RandomSelector(seed=1).select([episode, episode], per_episode=2)
    >>> [moment.episode for moment in moments]
    [0, 0, 1, 1]
    """

    def __init__(self, *, seed: int = 0, min_gap: int = 1) -> None:
        checks.whole("seed", seed, least=0)
        checks.whole("min_gap", min_gap, least=1)
        self.seed, self.min_gap = seed, min_gap

    def importances(self, trajectories: Sequence[Trajectory]) -> list[NDArray[np.float64]]:
        """Return a random number in [0, 1) for each step, one array of shape (T,) per episode."""
        return [
            np.random.default_rng([self.seed, episode]).random(len(trajectory))
            for episode, trajectory in enumerate(trajectories)
        ]

    def select(
        self, trajectories: Sequence[Trajectory], *, per_episode: int
    ) -> list[CriticalMoment]:
        """Return moments drawn at random.

        Raises:
            InvalidOptionError: If `per_episode` is no whole number >= 1.
        """
        return moments_of(
            self.importances(trajectories),
            per_episode=per_episode,
            min_gap=self.min_gap,
            rationale="drawn at random",
        )
