"""A rule from facts to an action, as a corrector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym

from llm_wrappers.guidance.critical.correctors._advice import Advice, facts_of
from llm_wrappers.guidance.critical.critical_state import CriticalState
from llm_wrappers.guidance.critical.moment import CriticalMoment
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["RuleCorrector"]


class RuleCorrector:
    """Advises what a rule says of the facts of a state.

    The reward of a critical state is +1 if the agent did what is advised, else -1; our choice.

    Args:
        rule: From the facts of one state to an action, or None for no advice.
        action_space: Of one environment.
        part: Which entry of a Dict observation the states are; None for other observations.
        tolerance: How far an action of a Box may be from the advice and still agree with it, in
            each dimension, as a share of its range, or where that is infinite in its units. Our
            choice.

    Raises:
        IncompatibleEnvironmentError: If actions of this space cannot be advised.
        InvalidOptionError: If the tolerance is no finite number >= 0.

    >>> import numpy as np
    >>> facts = [{"lean": 3.0}, {"lean": 5.0}]
    >>> episode = Trajectory(np.zeros((2, 4)), np.array([0]), [1.0], True, False, facts=facts)
    >>> rule = RuleCorrector(lambda facts: int(facts["lean"] > 0), gym.spaces.Discrete(2))
    >>> [found] = rule.correct([episode], [CriticalMoment(0, 0)])
    >>> found.action, found.reward
    (1, -1.0)
    """

    def __init__(
        self,
        rule: Callable[[Mapping[str, Any]], Any],
        action_space: gym.Space[Any],
        *,
        part: str | None = None,
        tolerance: float = 0.1,
    ) -> None:
        self.rule = rule
        self._advice = Advice(action_space, part=part, tolerance=tolerance)

    def correct(
        self, trajectories: Sequence[Trajectory], moments: Sequence[CriticalMoment]
    ) -> list[CriticalState | None]:
        """Return the rule's advice for each moment.

        Raises:
            InvalidOptionError: If a moment is not of these episodes, they have no facts, the rule
                returns what is not of the action space, or `part` does not fit.
        """
        return [self._corrected(trajectories, moment) for moment in moments]

    def _corrected(
        self, trajectories: Sequence[Trajectory], moment: CriticalMoment
    ) -> CriticalState | None:
        action = self.rule(facts_of(trajectories, moment))
        if action is None:
            return None
        return self._advice.critical_state(trajectories, moment, action)
