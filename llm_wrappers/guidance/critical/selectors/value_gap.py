"""Moments that went worse than a critic expected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.critical.moment import CriticalMoment
from llm_wrappers.guidance.critical.selectors._picking import moments_of
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["ValueGapSelector"]


class ValueGapSelector:
    """Picks the steps that went worst by the values of a critic.

    The gap of a step is V(s) - r - gamma * V(s'), what was expected less what came; V is 0 after an
    end of the task. Steps that went as well as expected or better are not picked, so that an
    episode may have fewer moments, or none. An explanation without a language model, of our choice.

    `llm_wrappers.sb3.baselines.value_gap.value_gap_selector` makes one from a model of
    Stable-Baselines3.

    Args:
        values: From observations of shape (n, ...), nested as the space is, to V, shape (n,).
        gamma: The discount, in [0, 1].
        reward_scale: What rewards are multiplied by, where V was learnt from scaled ones.
        min_gap: How many steps two moments of an episode are apart at least.

    Raises:
        InvalidOptionError: If an option is outside what is documented; in use, if `values` does not
            return n finite numbers.

    >>> episode = Trajectory(np.array([[0.0], [0.0], [5.0]]), [0, 0], [0.0, 0.0], False, True)
    >>> selector = ValueGapSelector(lambda observations: 10.0 - 2 * observations[:, 0], gamma=1.0)
    >>> [(moment.step, moment.importance) for moment in selector.select([episode], per_episode=2)]
    [(1, 10.0)]
    """

    def __init__(
        self,
        values: Callable[[Any], NDArray[Any]],
        *,
        gamma: float = 0.99,
        reward_scale: float = 1.0,
        min_gap: int = 1,
    ) -> None:
        if not callable(values):
            raise InvalidOptionError(
                "values must be a function of observations that returns one number for each, got "
                f"{values!r}"
            )
        checks.number("gamma", gamma, least=0, most=1)
        checks.number("reward_scale", reward_scale, above=0)
        checks.whole("min_gap", min_gap, least=1)
        self.values, self.gamma = values, gamma
        self.reward_scale, self.min_gap = reward_scale, min_gap

    def importances(self, trajectories: Sequence[Trajectory]) -> list[NDArray[np.float64]]:
        """Return the gap of each step, one array of shape (T,) per episode.

        Raises:
            InvalidOptionError: If `values` does not return one finite number for each observation.
        """
        return [self._gaps(trajectory) for trajectory in trajectories]

    def select(
        self, trajectories: Sequence[Trajectory], *, per_episode: int
    ) -> list[CriticalMoment]:
        """Return the moments with the largest gaps.

        Raises:
            InvalidOptionError: If `per_episode` is no whole number >= 1, or `values` does not
                return one finite number for each observation.
        """
        return moments_of(
            self.importances(trajectories),
            per_episode=per_episode,
            min_gap=self.min_gap,
            rationale="went worse than the critic expected, by {importance}",
            above=0.0,
        )

    def _gaps(self, trajectory: Trajectory) -> NDArray[np.float64]:
        expected = np.array(self.values(trajectory.observations), dtype=np.float64)
        if expected.shape != (len(trajectory) + 1,) or not np.isfinite(expected).all():
            raise InvalidOptionError(
                f"expected values() to return {len(trajectory) + 1} finite numbers, one per "
                f"observation, got shape {expected.shape}; check the critic"
            )
        if trajectory.terminated:
            expected[-1] = 0.0
        came = self.reward_scale * trajectory.rewards + self.gamma * expected[1:]
        gaps: NDArray[np.float64] = expected[:-1] - came
        return gaps
