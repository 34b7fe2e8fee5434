"""What episodes paid, what guidance approved of in them, and the coin that leaves some without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.adaptive_trust import AdaptiveTrust, refuse_trust, resolve_trusted
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.parts import require_keys
from llm_wrappers.schedules import Schedule, coefficient

__all__ = ["EpisodeReturns", "ScheduledCoin", "TrustEvidence"]


class EpisodeReturns:
    """Sums of rewards until episodes end, without a discount.

    Args:
        n: The number of sub-environments.
    """

    def __init__(self, n: int) -> None:
        self._running = np.zeros(n)
        self.episodes = 0
        self.mean = 0.0
        self.largest = 0.0

    def begin(self, rows: NDArray[np.intp]) -> None:
        """Forget episodes that were not played to their end."""
        self._running[rows] = 0.0

    def add(self, rewards: Any, rows: NDArray[np.intp], ended: NDArray[np.bool_]) -> None:
        """Take in a step.

        Args:
            rewards: Of all n.
            rows: Which of them took a step.
            ended: Where an episode ended, shape (n,).
        """
        self._running[rows] += rewards[rows]
        if not np.count_nonzero(ended):
            return
        over = rows[ended[rows]]
        for value in self._running[over].tolist():
            self.episodes += 1
            self.mean += (value - self.mean) / self.episodes
            self.largest = max(self.largest, abs(value))
        self._running[over] = 0.0

    def stats(self) -> dict[str, float]:
        """Return the number of finished episodes, their mean return and the largest in size."""
        return {
            "episodes": self.episodes,
            "mean_return": self.mean,
            "largest_return": self.largest,
        }

    def state_dict(self) -> dict[str, float]:
        """Return what `stats` returns."""
        return self.stats()

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore what `state_dict` returned."""
        require_keys(state, self.stats())
        self.episodes = int(state["episodes"])
        self.mean, self.largest = float(state["mean_return"]), float(state["largest_return"])


class TrustEvidence:
    """Reports finished episodes to a schedule that wants to know of them, and else does nothing.

    Args:
        n: The number of sub-environments.
        schedule: A schedule; only an `AdaptiveTrust` wants to know.
        prefix: What the names of its counters begin with.
    """

    def __init__(self, n: int, schedule: Schedule, *, prefix: str = "") -> None:
        self.trust = schedule if isinstance(schedule, AdaptiveTrust) else None
        self._prefix = prefix
        self._liked = np.zeros(n)
        self._judged = np.zeros(n, dtype=np.int64)
        self._paid = np.zeros(n)

    def begin(self, rows: NDArray[np.intp]) -> None:
        """Forget episodes that were not played to their end."""
        if self.trust is not None:
            self._liked[rows] = self._paid[rows] = 0.0
            self._judged[rows] = 0

    def learn(
        self,
        approvals: NDArray[Any],
        paid: NDArray[np.float64],
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
        self._paid[rows] += paid[rows]
        over = rows[ended[rows]]
        for row in over.tolist():
            judged = int(self._judged[row])
            liked = self._liked[row] / judged if judged else np.nan
            self.trust.observe(float(liked), float(self._paid[row]))
        self.begin(over)

    def stats(self) -> dict[str, float]:
        """Return those of the trust; nothing where there is none."""
        if self.trust is None:
            return {}
        return {f"{self._prefix}{name}": value for name, value in self.trust.stats().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the trust; nothing where there is none."""
        return {} if self.trust is None else {"adaptive_trust": self.trust.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it was saved with another kind of schedule.
        """
        if ("adaptive_trust" in state) != (self.trust is not None):
            raise InvalidOptionError(
                "expected a state saved with the same kind of schedule, got one "
                f"{'with' if self.trust is None else 'without'} an adaptive trust; give the "
                "wrapper the schedule it had"
            )
        if self.trust is not None:
            self.trust.load_state_dict(state["adaptive_trust"])


class ScheduledCoin:
    """Whether guidance applies at a step: with probability xi, from a schedule (SGRL).

    With an adaptive schedule whole episodes are drawn as guided or not, with the trust as the
    probability of a guided one, and xi holds in the guided ones: unlike a judgement, a mask
    changes what happens, so that the two kinds of episodes can be compared.

    Args:
        n: The number of sub-environments.
        schedule: What `resolve_trusted` takes; its value at the training progress is xi.
        name: What xi is called in the counters.
        prefix: What the names of the counters of its trust begin with.
    """

    def __init__(
        self,
        n: int,
        schedule: float | Mapping[str, Any] | Schedule,
        *,
        name: str = "xi",
        prefix: str = "",
    ) -> None:
        self.schedule = resolve_trusted(schedule)
        self.xi = 1.0
        self._name = name
        self._evidence = TrustEvidence(n, self.schedule, prefix=prefix)
        self._guided = np.ones(n, dtype=np.bool_)

    @property
    def adapts(self) -> bool:
        """Whether the schedule adapts."""
        return self._evidence.trust is not None

    def refuse_trust(self, reason: str) -> None:
        """Raise if the schedule adapts.

        Raises:
            InvalidOptionError: With the reason.
        """
        refuse_trust(self.schedule, reason)

    def set_progress(self, progress: float) -> None:
        """Take xi from the schedule, at the training progress in [0, 1]."""
        trust = self._evidence.trust
        schedule = self.schedule if trust is None else trust.scheduled
        self.xi = coefficient(schedule, progress)

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
        self._evidence.begin(rows)

    def learn(
        self, paid: NDArray[np.float64], rows: NDArray[np.intp], ended: NDArray[np.bool_]
    ) -> None:
        """Report a step to a schedule that adapts; call it before the next episodes begin.

        Args:
            paid: What the environment paid, shape (n,).
            rows: Which of the n took a step.
            ended: Where an episode ended, shape (n,).
        """
        if self._evidence.trust is not None:
            # Where xi is 0, a guided episode is one without guidance.
            approvals = np.where(self.xi > 0.0, self._guided, np.nan)
            self._evidence.learn(approvals, paid, rows, ended)

    def toss(
        self, streams: Sequence[np.random.Generator], rows: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """Return one outcome for each of some rows.

        Args:
            streams: The n random generators.
            rows: Which of the n are asked for.
        """
        if self.xi in (0.0, 1.0):
            tossed = np.ones(len(rows), np.bool_) if self.xi else np.zeros(len(rows), np.bool_)
        else:
            tossed = np.array([streams[row].random() for row in rows.tolist()]) < self.xi
        return tossed if self._evidence.trust is None else tossed & self._guided[rows]

    def stats(self) -> dict[str, float]:
        """Return xi, in guided episodes where the schedule adapts, and the trust it then has."""
        return {self._name: self.xi, **self._evidence.stats()}

    def state_dict(self) -> dict[str, Any]:
        """Return the trust where the schedule adapts."""
        return self._evidence.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it was saved with another kind of schedule.
        """
        self._evidence.load_state_dict(state)
