"""Moments after which less is earned than before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.guidance.critical.moment import CriticalMoment
from llm_wrappers.guidance.critical.selectors._picking import moments_of
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["ReturnDropSelector"]


class ReturnDropSelector:
    """Picks the steps from which on the reward falls most; needs no model at all.

    The drop of step t is the mean of the `window` rewards before it, less the mean of the `window`
    rewards from it on, its own included. All of that is our choice:

    - Near the start the mean before is over fewer steps. The first step has no drop.
    - After an end of the task nothing more is earned, so missing rewards count as 0. After a cut
      (`truncated`) what would have come is not known, and the mean is over fewer steps.
    - Steps without a drop are not picked, so that an episode may have fewer moments, or none.

    Args:
        window: How many rewards are compared, at least 1.
        min_gap: How many steps two moments of an episode are apart at least.

    Raises:
        InvalidOptionError: If an option is outside what is documented.

    >>> rewards = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    >>> episode = Trajectory(np.zeros((7, 2)), np.zeros(6), rewards, False, True)
    >>> [found] = ReturnDropSelector(window=3).select([episode], per_episode=1)
    >>> found.step, found.importance
    (3, 1.0)
    """

    def __init__(self, *, window: int = 10, min_gap: int = 1) -> None:
        checks.whole("window", window, least=1)
        checks.whole("min_gap", min_gap, least=1)
        self.window, self.min_gap = window, min_gap

    def importances(self, trajectories: Sequence[Trajectory]) -> list[NDArray[np.float64]]:
        """Return the drop of each step, one array of shape (T,) per episode."""
        return [self._drops(trajectory) for trajectory in trajectories]

    def select(
        self, trajectories: Sequence[Trajectory], *, per_episode: int
    ) -> list[CriticalMoment]:
        """Return the moments with the largest drops.

        Raises:
            InvalidOptionError: If `per_episode` is no whole number >= 1.
        """
        return moments_of(
            self.importances(trajectories),
            per_episode=per_episode,
            min_gap=self.min_gap,
            rationale=f"the mean reward of {self.window} steps falls by {{importance}}",
            above=0.0,
        )

    def _drops(self, trajectory: Trajectory) -> NDArray[np.float64]:
        steps = np.arange(len(trajectory))
        sums = np.concatenate([[0.0], np.cumsum(trajectory.rewards)])
        begins = np.maximum(steps - self.window, 0)
        ends = np.minimum(steps + self.window, len(trajectory))
        before = (sums[steps] - sums[begins]) / np.maximum(steps - begins, 1)
        over = trajectory.terminated
        after = (sums[ends] - sums[steps]) / (self.window if over else ends - steps)
        drops: NDArray[np.float64] = np.where(steps > 0, before - after, 0.0)
        return drops
