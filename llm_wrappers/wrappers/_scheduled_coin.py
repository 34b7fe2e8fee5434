"""Whether a goal's mask or bounds apply in n sub-environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.adaptive_trust import refuse_trust, resolve_trusted
from llm_wrappers.schedules import Schedule, coefficient
from llm_wrappers.wrappers._trust_evidence import TrustEvidence

__all__ = ["ScheduledCoin"]


class ScheduledCoin:
    """Whether a goal's mask applies at a step: with probability xi, from a schedule (SGRL).

    With an adaptive schedule whole episodes are drawn as guided or not, with the trust as the
    probability of a guided one, and xi holds in the guided ones: unlike a judgement, a mask
    changes what happens, so that the two kinds of episodes can be compared.

    Args:
        schedule: What `resolve_trusted` takes; its value at the training progress is xi.
        n: The number of sub-environments.
    """

    def __init__(self, schedule: float | Mapping[str, Any] | Schedule, n: int = 1) -> None:
        self._schedule = resolve_trusted(schedule)
        self._evidence = TrustEvidence(n, self._schedule)
        self._guided = np.ones(n, dtype=np.bool_)
        self.set_progress(0.0)

    def refuse_trust(self, reason: str) -> None:
        """Raise if the schedule adapts.

        Raises:
            InvalidOptionError: With the reason.
        """
        refuse_trust(self._schedule, reason)

    def set_progress(self, progress: float) -> None:
        """Set the training progress, a number in [0, 1], for the steps from now on."""
        trust = self._evidence.trust
        schedule = self._schedule if trust is None else trust.scheduled
        self.xi = coefficient(schedule, progress)
        self.progress = float(progress)

    def begin(self, rows: NDArray[np.intp], streams: Sequence[np.random.Generator]) -> None:
        """Begin episodes: draw which are guided.

        Args:
            rows: Which of the n begin one.
            streams: The n random generators.
        """
        if self._evidence.trust is None:
            return
        share = self._evidence.trust.share_of_guided_episodes
        for row in rows.tolist():
            self._guided[row] = streams[row].random() < share
        self._evidence.begin(np.isin(np.arange(len(self._guided)), rows))

    def learn(self, paid: Any, rows: NDArray[np.intp], ended: NDArray[np.bool_]) -> None:
        """Report a step to a schedule that adapts; call it before the next episodes begin.

        Args:
            paid: What the environment paid, shape (n,).
            rows: Which of the n took a step.
            ended: Where an episode ended, shape (n,).
        """
        if self._evidence.trust is None:
            return
        # Where xi is 0, a guided episode is one without guidance.
        approvals = np.where(self.xi > 0.0, self._guided, np.nan)
        self._evidence.learn(approvals, paid, rows, ended)

    def toss(
        self, streams: Sequence[np.random.Generator], rows: NDArray[np.intp] | None = None
    ) -> NDArray[np.bool_]:
        """Return one outcome per stream.

        Args:
            streams: One per sub-environment that is asked for.
            rows: Which of the n these are; None for all.
        """
        if self.xi in (0.0, 1.0):
            tossed = np.full(len(streams), self.xi == 1.0)
        else:
            tossed = np.array([stream.random() for stream in streams]) < self.xi
        return tossed & self._guided[slice(None) if rows is None else rows]

    def stats(self) -> dict[str, float]:
        """Return xi, in guided episodes where the schedule adapts, and the trust it then has."""
        return {"xi": self.xi, **self._evidence.stats()}

    def state_dict(self) -> dict[str, Any]:
        """Return the progress, and the trust where the schedule adapts."""
        return {"progress": self.progress, **self._evidence.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, from a larger state.

        Raises:
            InvalidOptionError: If it was saved with another kind of schedule.
        """
        self._evidence.load_state_dict(state)
        self.set_progress(state["progress"])
