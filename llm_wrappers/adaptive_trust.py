"""A schedule that learns from finished episodes whether guidance pays."""

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

__all__ = ["AdaptiveTrust", "evidence", "refuse_trust", "resolve_trusted"]

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
        mine = self.state_dict()
        if not isinstance(state, Mapping) or state.keys() != mine.keys():
            raise InvalidOptionError(
                f"expected the state of an adaptive trust with {sorted(mine)}, got {state!r}"
            )
        trust = checks.number("trust", state["trust"], least=0, most=1)
        counts = [
            checks.whole(name, state[name], least=0) for name in ("episodes", "raised", "lowered")
        ]
        found = state["evidence"]
        if found is not None:
            # Not a number where rewards were none.
            found = float(found)
        pairs = state["pairs"]
        if not isinstance(pairs, list):
            raise InvalidOptionError(f"expected pairs of approval and return, got {pairs!r}")
        pairs = [(float(approval), float(paid)) for approval, paid in pairs]
        self._trust, self._evidence = trust, found
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
