"""What guidance approved of in the episodes of n sub-environments, beside what they paid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.adaptive_trust import AdaptiveTrust
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.schedules import Schedule

__all__ = ["TrustEvidence", "paid_by_the_environment"]


class TrustEvidence:
    """Reports finished episodes to a schedule that wants to know of them, and else does nothing.

    Args:
        n: The number of sub-environments.
        schedule: A schedule; only an `AdaptiveTrust` wants to know.
    """

    def __init__(self, n: int, schedule: Schedule) -> None:
        self.trust = schedule if isinstance(schedule, AdaptiveTrust) else None
        self._liked = np.zeros(n)
        self._judged = np.zeros(n, dtype=np.int64)
        self._paid = np.zeros(n)

    def begin(self, fresh: NDArray[np.bool_]) -> None:
        """Forget episodes that were not played to their end, shape (n,)."""
        self._liked[fresh] = self._paid[fresh] = 0.0
        self._judged[fresh] = 0

    def learn(
        self,
        approvals: NDArray[Any],
        paid: Any,
        rows: NDArray[np.intp],
        ended: NDArray[np.bool_],
    ) -> None:
        """Take in a step and report the episodes that it ended.

        Args:
            approvals: How much the guidance liked the step, shape (n,); not a number where it
                said nothing.
            paid: What the environment paid for it, shape (n,).
            rows: Which of the n took a step.
            ended: Where an episode ended, shape (n,).
        """
        if self.trust is None:
            return
        known = rows[~np.isnan(approvals[rows])]
        self._liked[known] += approvals[known]
        self._judged[known] += 1
        self._paid[rows] += np.asarray(paid, dtype=np.float64)[rows]
        for row in rows[ended[rows]].tolist():
            judged = int(self._judged[row])
            liked = self._liked[row] / judged if judged else np.nan
            self.trust.observe(float(liked), float(self._paid[row]))
        self.begin(ended)

    def stats(self) -> dict[str, float]:
        """Return those of the trust; nothing where there is none."""
        return {} if self.trust is None else self.trust.stats()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the trust as `adaptive_trust`; nothing where there is none."""
        return {} if self.trust is None else {"adaptive_trust": self.trust.state_dict()}

    def require_fit(self, state: Mapping[str, Any]) -> None:
        """Compare a larger state with the schedule.

        Raises:
            InvalidOptionError: If it was saved with another kind of schedule.
        """
        if ("adaptive_trust" in state) != (self.trust is not None):
            raise InvalidOptionError(
                "expected a state saved with the same kind of schedule, got one "
                f"{'with' if self.trust is None else 'without'} an adaptive trust; give the "
                "wrapper the schedule it had"
            )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, from a larger state.

        Raises:
            InvalidOptionError: If it was saved with another kind of schedule.
        """
        self.require_fit(state)
        if self.trust is not None:
            self.trust.load_state_dict(state["adaptive_trust"])


def paid_by_the_environment(
    infos: Mapping[str, Any], rewards: Any, ended: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the extrinsic rewards of a vector step, shape (n,).

    Args:
        infos: The infos of the step, from the layers below.
        rewards: The rewards of the step, from the layers below.
        ended: Where an episode ended, shape (n,).
    """
    paid = np.asarray(infos.get("extrinsic_reward", rewards), dtype=np.float64)
    final = infos.get("final_info", {})
    if "extrinsic_reward" not in final:
        return paid
    # With autoreset in the same step, the infos are of the next episode already.
    return np.where(ended, final["extrinsic_reward"], paid)
