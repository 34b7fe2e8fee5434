"""Trust: a schedule that learns from finished episodes whether guidance pays, and its evidence.

`AdaptiveTrust` is the schedule. Wrappers tell it of episodes through `TrustEvidence`, or where
whole episodes go without guidance, through `ScheduledCoin`.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.schedules import Schedule, coefficient, resolve_schedule

__all__ = [
    "AdaptiveTrust",
    "EpisodeReturns",
    "ScheduledCoin",
    "TrustEvidence",
    "evidence",
    "refuse_trust",
    "resolve_trusted",
]

_LARGEST = 1e6


class AdaptiveTrust:
    """A schedule times a trust in [0, 1], which rises while guidance pays and falls while it harms.

    A wrapper reports each finished episode as a pair: how much the guidance approved of what was
    done in it, and what the environment paid. After each `window` of episodes, `evidence` says
    over the last `memory` of them whether those that the guidance liked more earned more. Beyond
    `confidence` standard errors trust goes up by `step`, below minus that it goes down; in
    between, it goes back towards `start`. All of it, the default values included, is our choice:
    no paper of those we implement has it.

    With ``start=0.0`` trust has to be earned. Where rewards are so rare that most episodes pay
    the same, nothing can be earned: there ``start=1.0`` trusts until harm shows.

    A wrapper keeps a copy of its own; read its trust in `stats`.

    Args:
        schedule: What trust is multiplied with; what `resolve_schedule` takes.
        start: The trust at the beginning, and where nothing is known, in [0, 1].
        window: After how many finished episodes trust is moved, at least 1.
        memory: How many of the last episodes are compared, at least 5.
        step: By how much trust is moved, in (0, 1].
        confidence: How many standard errors evidence must be away from 0, at least 0.
        probe: For masks and bounds, the smallest share of episodes with guidance, and without
            it, in [0, 0.5]. With 0 and ``start=0.0`` a mask is never tried.

    Raises:
        InvalidOptionError: If an option is outside what is documented.

    >>> trust = AdaptiveTrust(0.8, window=10, step=0.5)
    >>> trust(0.0)
    0.0
    >>> for episode in range(20):
    ...     trust.observe(approval=episode % 3, paid=10.0 * (episode % 3))
    >>> trust.trust, trust(0.0)
    (1.0, 0.8)
    """

    def __init__(
        self,
        schedule: float | Mapping[str, Any] | Schedule = 1.0,
        *,
        start: float = 0.0,
        window: int = 10,
        memory: int = 50,
        step: float = 0.5,
        confidence: float = 1.64,
        probe: float = 0.1,
    ) -> None:
        self._schedule = resolve_schedule(schedule)
        self._start = checks.number("start", start, least=0, most=1)
        self._window = checks.whole("window", window, least=1)
        self._step = checks.number("step", step, least=0, most=1)
        if self._step == 0.0:
            raise InvalidOptionError("step must be above 0, got 0; use a plain schedule instead")
        self._confidence = checks.number("confidence", confidence, least=0, most=_LARGEST)
        self._probe = checks.number("probe", probe, least=0, most=0.5)
        kept = checks.whole("memory", memory, least=5)
        self._pairs: deque[tuple[float, float]] = deque(maxlen=kept)
        self._episodes = self._raised = self._lowered = 0
        self._evidence: float | None = None
        self._trust = self._start

    @property
    def trust(self) -> float:
        """How much the guidance is trusted at present, in [0, 1]."""
        return self._trust

    @property
    def share_of_guided_episodes(self) -> float:
        """The trust, kept away from 0 and from 1 so that both kinds of episodes are seen."""
        return min(max(self._trust, self._probe), 1.0 - self._probe)

    def __call__(self, progress: float) -> float:
        """Return the schedule's value at `progress`, times the trust."""
        return self.scheduled(progress) * self._trust

    def scheduled(self, progress: float) -> float:
        """Return the schedule's value at `progress`, as if trust were 1."""
        return coefficient(self._schedule, progress)

    def observe(self, approval: float, paid: float) -> None:
        """Take in a finished episode and move trust where a window of them is full.

        An episode without a number for either, in which nothing was judged, is left out.

        Args:
            approval: How much the guidance liked what was done: a mean over the steps of the
                episode, not a sum, because sums grow with the length.
            paid: What the environment paid in it, without a discount.
        """
        if math.isnan(approval) or math.isnan(paid):
            return
        self._pairs.append((float(approval), float(paid)))
        self._episodes += 1
        if self._episodes % self._window == 0:
            self._evidence = evidence(self._pairs)
            self._move()

    def stats(self) -> dict[str, float]:
        """Return the trust, the evidence when it was last moved, and how often it was moved.

        The evidence is in standard errors; 0 where there is none.
        """
        return {
            "trust": self._trust,
            "trust_evidence": self._evidence or 0.0,
            "trust_episodes": self._episodes,
            "trust_raised": self._raised,
            "trust_lowered": self._lowered,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the trust, the counters and the remembered episodes, ready for JSON."""
        return {
            "trust": self._trust,
            "evidence": self._evidence,
            "episodes": self._episodes,
            "raised": self._raised,
            "lowered": self._lowered,
            "pairs": [list(pair) for pair in self._pairs],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it is the state of something else.
        """
        _require_keys("an adaptive trust", state, self.state_dict())
        trust = checks.number("trust", state["trust"], least=0, most=1)
        counts = [
            checks.whole(name, state[name], least=0) for name in ("episodes", "raised", "lowered")
        ]
        found = state["evidence"]
        pairs = state["pairs"]
        if not isinstance(pairs, list):
            raise InvalidOptionError(f"expected pairs of approval and return, got {pairs!r}")
        pairs = [(float(approval), float(paid)) for approval, paid in pairs]
        # Not a number where rewards were none.
        self._trust, self._evidence = trust, None if found is None else float(found)
        self._episodes, self._raised, self._lowered = counts
        self._pairs.clear()
        self._pairs.extend(pairs)

    def _move(self) -> None:
        target = self._start
        if self._evidence is not None and abs(self._evidence) > self._confidence:
            target = 1.0 if self._evidence > 0.0 else 0.0
        moved = self._trust + min(max(target - self._trust, -self._step), self._step)
        self._raised += moved > self._trust
        self._lowered += moved < self._trust
        self._trust = moved


def evidence(pairs: Sequence[tuple[float, float]] | deque[tuple[float, float]]) -> float | None:
    """Return whether what was liked more earned more, in standard errors; None if unknown.

    It is the rank correlation (Spearman's) of the two numbers of a pair, without the part that
    both owe to the order of the pairs: over a training everything may rise together. Divided by
    its standard error, it is near a normal distribution where the two have nothing to do with
    each other.

    Args:
        pairs: Approval and return of each episode, the oldest first.

    >>> evidence([(0, 1.0), (1, 5.0), (0, 2.0), (1, 6.0), (0, 2.5), (1, 5.5)]) > 2
    True
    >>> evidence([(1, 1.0), (1, 5.0), (1, 2.0), (1, 6.0), (1, 2.5)]) is None
    True
    """
    n = len(pairs)
    if n < 5:
        return None
    approvals, returns = np.array(pairs, dtype=np.float64).T
    order = np.arange(n, dtype=np.float64)
    x, y = (_without(order, _ranks(values)) for values in (approvals, returns))
    size = math.sqrt(float(x @ x) * float(y @ y))
    if size < 1e-9:
        return None
    r = min(max(float(x @ y) / size, -1.0), 1.0)
    return r * math.sqrt((n - 3) / max(1.0 - r * r, 1e-6))


def resolve_trusted(schedule: float | Mapping[str, Any] | Schedule) -> Schedule:
    """Return what `resolve_schedule` does, or an `AdaptiveTrust` of the caller's own.

    Args:
        schedule: What `resolve_schedule` takes; an `AdaptiveTrust`, of which a copy is returned;
            or a dict of its options with ``"kind": "adaptive"``.

    Raises:
        InvalidOptionError: If it stands for no schedule.

    >>> resolve_trusted({"kind": "adaptive", "schedule": 0.5, "start": 1.0})(0.0)
    0.5
    """
    if isinstance(schedule, AdaptiveTrust):
        return copy.deepcopy(schedule)
    if not isinstance(schedule, Mapping) or schedule.get("kind") != "adaptive":
        return resolve_schedule(schedule)
    options = {name: value for name, value in schedule.items() if name != "kind"}
    try:
        return AdaptiveTrust(**options)
    except TypeError as error:
        raise InvalidOptionError(f"schedule 'adaptive': {error}") from error


def refuse_trust(schedule: Schedule, reason: str) -> None:
    """Raise where a wrapper has no evidence for an `AdaptiveTrust`.

    Raises:
        InvalidOptionError: If the schedule is one.
    """
    if isinstance(schedule, AdaptiveTrust):
        raise InvalidOptionError(f"an adaptive schedule cannot be used here: {reason}")


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
        """Take in a step: the rewards of all n, which of them took it, and where one ended."""
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
        _require_keys("episode returns", state, self.stats())
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
        """Restore what `state_dict` returned; refuse one of another kind of schedule."""
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
        """Raise an `InvalidOptionError` with the reason if the schedule adapts."""
        refuse_trust(self.schedule, reason)

    def set_progress(self, progress: float) -> None:
        """Take xi from the schedule, at the training progress in [0, 1]."""
        trust = self._evidence.trust
        schedule = self.schedule if trust is None else trust.scheduled
        self.xi = coefficient(schedule, progress)

    def begin(self, rows: NDArray[np.intp], streams: Sequence[np.random.Generator]) -> None:
        """Begin episodes in some rows: draw which are guided, from the n random generators."""
        if self._evidence.trust is None:
            return
        share = self._evidence.trust.share_of_guided_episodes
        for row in rows.tolist():
            self._guided[row] = streams[row].random() < share
        self._evidence.begin(rows)

    def learn(
        self, paid: NDArray[np.float64], rows: NDArray[np.intp], ended: NDArray[np.bool_]
    ) -> None:
        """Report a step to a schedule that adapts; call it before the next episodes begin."""
        if self._evidence.trust is not None:
            # Where xi is 0, a guided episode is one without guidance.
            approvals = np.where(self.xi > 0.0, self._guided, np.nan)
            self._evidence.learn(approvals, paid, rows, ended)

    def toss(
        self, streams: Sequence[np.random.Generator], rows: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """Return one outcome for each of some rows, from the n random generators."""
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
        """Restore what `state_dict` returned; refuse one of another kind of schedule."""
        self._evidence.load_state_dict(state)


def _require_keys(what: str, state: Any, mine: Mapping[str, Any]) -> None:
    """Refuse the state of something else."""
    if not isinstance(state, Mapping) or state.keys() != mine.keys():
        raise InvalidOptionError(f"expected the state of {what} with {sorted(mine)}, got {state!r}")


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return shared


def _without(trend: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what a straight line over `trend` does not explain of the values."""
    trend = trend - trend.mean()
    centred = values - values.mean()
    rest: NDArray[np.float64] = centred - (centred @ trend) / (trend @ trend) * trend
    return rest
