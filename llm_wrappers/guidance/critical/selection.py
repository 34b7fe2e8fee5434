"""Choosing one goal of a plan, for n sub-environments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.guidance.plan import Plan

__all__ = ["NO_GOAL", "RESELECT", "SELECTIONS", "GoalSelector"]

SELECTIONS = ("sample", "argmax")
RESELECT = ("on_change", "every_step")
NO_GOAL = -1


class GoalSelector:
    """The goals that n sub-environments pursue.

    The paper of SGRL (arXiv 2509.22008) says that goals are sampled by their weights, but not
    how often nor how exactly; both options are our choice.

    Args:
        n: The number of sub-environments.
        selection: ``"sample"`` draws goal i with probability w_i / sum(w); ``"argmax"`` takes the
            largest weight, the first of equal ones.
        reselect: ``"on_change"`` keeps a goal for as long as the plan contains it;
            ``"every_step"`` chooses anew at each step.

    Raises:
        InvalidOptionError: If an option is not one of these.
    """

    def __init__(self, n: int, *, selection: str, reselect: str) -> None:
        checks.one_of("selection", selection, SELECTIONS)
        checks.one_of("reselect", reselect, RESELECT)
        self._sample = selection == "sample"
        self._keep = reselect == "on_change"
        self.goals = np.full(n, NO_GOAL, dtype=np.int64)
        self.guided = np.zeros(n, dtype=np.bool_)

    def select(
        self,
        plans: Sequence[Plan],
        generators: Sequence[np.random.Generator],
        fresh: NDArray[np.bool_],
        rows: NDArray[np.intp] | None = None,
    ) -> NDArray[np.int64]:
        """Choose the goals for the current states.

        Args:
            plans: One plan per state, m of them.
            generators: Their m random generators, used only to draw.
            fresh: Where an episode has just begun, shape (m,); the goal of the one before is
                forgotten.
            rows: Which m of the n sub-environments these are; None for all.

        Returns:
            Indices into the vocabulary, shape (m,); `NO_GOAL` where the plan is empty.
        """
        here = slice(None) if rows is None else rows
        before = self.goals[here].tolist()
        if np.count_nonzero(fresh):
            before = np.where(fresh, NO_GOAL, before).tolist()
        chosen = [
            self._choose(plan, goal, generator)
            for plan, goal, generator in zip(plans, before, generators, strict=True)
        ]
        goals = np.array(chosen, dtype=np.int64)
        self.goals[here] = goals
        self.guided[here] = [bool(plan.goals) and not plan.failed for plan in plans]
        return goals

    def _choose(self, plan: Plan, goal: int, generator: np.random.Generator) -> int:
        if self._keep and goal in plan.goals:
            return goal
        if self._sample and len(plan.goals) > 1:
            return plan.draw(generator.random())
        return plan.best
