"""Counting for an audit of masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.guidance.goals import Plan
from llm_wrappers.methods.sgrl._goal_audit import GoalAudit

__all__ = ["MaskTally"]


class MaskTally:
    """Counts that grow episode by episode; one number per goal, and two in all.

    Args:
        rows: The masks of the goals, shape (goals, actions).
        masked: Which goals have a mask, shape (goals,).
    """

    def __init__(self, rows: NDArray[np.bool_], masked: NDArray[np.bool_]) -> None:
        self._rows, self._masked = rows, masked
        self._planned, self._reached, self._forbidden, self._allowed, self._idle = np.zeros(
            (5, len(rows)), dtype=np.int64
        )
        self.fallbacks = self.contradictions = 0
        self.knows_legality = False

    def add_plans(self, plans: Sequence[Plan]) -> None:
        """Count the plans of m states."""
        self.fallbacks += sum(plan.failed for plan in plans)
        for plan in plans:
            if not plan.failed:
                self._planned[list(plan.goals)] += 1

    def add_reached(
        self,
        reached: Sequence[Sequence[int]],
        actions: NDArray[np.int64],
        legal: NDArray[np.bool_] | None,
    ) -> None:
        """Count the goals that each of m actions reached, where it can have had an effect."""
        for step, goals in enumerate(reached):
            if legal is None or legal[step, actions[step]]:
                self._reached[list(goals)] += 1
                self._forbidden[
                    [goal for goal in goals if not self._rows[goal, actions[step]]]
                ] += 1

    def add_legality(
        self,
        plans: Sequence[Plan],
        legal: NDArray[np.bool_],
    ) -> None:
        """Count what masks allow, by what is known to have an effect, shape (m, actions)."""
        rows, masked = self._rows, self._masked
        self.knows_legality = True
        for plan, open_ in zip(plans, legal, strict=True):
            if plan.failed or not plan.goals:
                continue
            goals = [goal for goal in plan.goals if masked[goal]]
            self._allowed[goals] += rows[goals].sum(axis=1)
            self._idle[goals] += (rows[goals] & ~open_).sum(axis=1)
            self.contradictions += bool(masked[plan.best] and not (rows[plan.best] & open_).any())

    def goals(self, names: Sequence[str]) -> dict[str, GoalAudit]:
        """Return the counts by goal."""
        known, masked = self.knows_legality, self._masked
        return {
            name: GoalAudit(
                masked=bool(masked[row]),
                planned=int(self._planned[row]),
                reached=int(self._reached[row]),
                forbidden=int(self._forbidden[row]),
                allowed=int(self._allowed[row]) if known and masked[row] else None,
                idle=int(self._idle[row]) if known and masked[row] else None,
            )
            for row, name in enumerate(names)
        }
