"""What judgements are worth before they are scaled (LMGT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.judge import Judge
from llm_wrappers.guidance.judging import Judging
from llm_wrappers.schedules import Schedule, coefficient, resolve_schedule

__all__ = ["ONLY", "JudgedShift"]

ONLY = (None, "negative", "positive")


class JudgedShift:
    """Judgements of (state, action), as numbers; batch first.

    Args:
        n: The number of sub-environments.
        judge: The judge.
        captioner: Puts the states into words.
        only: ``"negative"`` drops approval, ``"positive"`` drops disapproval.
        center: Whether the mean of the judgements so far is taken off.
        consult_every: In each k-th step of an episode the judge is asked.
        consult_probability: What `resolve_schedule` takes; the probability that it is asked.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
    """

    def __init__(
        self,
        n: int,
        *,
        judge: Judge,
        captioner: Captioner,
        only: str | None,
        center: bool,
        consult_every: int,
        consult_probability: float | Mapping[str, Any] | Schedule,
    ) -> None:
        if only not in ONLY:
            raise InvalidOptionError(f"only must be one of {ONLY}, got {only!r}")
        if not isinstance(center, bool):
            raise InvalidOptionError(f"center must be True or False, got {center!r}")
        if center and only is not None:
            raise InvalidOptionError("center=True with only=... would bring back the dropped sign")
        whole = isinstance(consult_every, int) and not isinstance(consult_every, bool)
        if not whole or consult_every < 1:
            raise InvalidOptionError(
                f"consult_every must be a whole number >= 1, got {consult_every!r}"
            )
        self.judging = Judging(judge, caption=captioner.state_captions)
        self._n = n
        self._only = only
        self._center = center
        self._every = consult_every
        self._probability = resolve_schedule(consult_probability)
        self._steps = np.zeros(n, dtype=np.int64)
        self._judged, self._mean = 0, 0.0
        self.set_progress(0.0)

    def set_progress(self, progress: float) -> None:
        """Set the training progress, in [0, 1], from which the schedule gives the probability."""
        self.probability = coefficient(self._probability, progress)

    def begin(self, facts: Sequence[Facts], fresh: NDArray[np.bool_]) -> None:
        """Begin episodes.

        Args:
            facts: Of all n sub-environments.
            fresh: Where an episode begins, shape (n,).
        """
        self._steps[fresh] = 0
        self.judging.reset(fresh)

    def values(
        self,
        before: Sequence[Facts],
        actions: Sequence[Any],
        rows: Sequence[int],
        streams: Sequence[np.random.Generator],
    ) -> tuple[NDArray[np.float64], list[int | None]]:
        """Return what the actions are worth, shape (n,), and the n judgements.

        Args:
            before: The facts of all n before the step.
            actions: Their actions.
            rows: Which of them took a step.
            streams: The n random generators.
        """
        asked = [row for row in rows if self._is_due(row, streams[row])]
        self._steps[list(rows)] += 1
        values = np.zeros(self._n)
        judgements: list[int | None] = [None] * self._n
        for row, value in zip(asked, self.judging.judgements(before, actions, asked), strict=True):
            judgements[row] = value
            if value is not None:
                values[row] = self._worth(value)
        return values, judgements

    def approvals(self, judgements: Sequence[int | None]) -> list[float]:
        """Return the judgements without the sign that is dropped; not a number where there is none.

        The mean is not taken off: it moves, and would make equal judgements differ.
        """
        return [np.nan if value is None else float(self._kept(value)) for value in judgements]

    @property
    def counts(self) -> dict[str, int]:
        """The counters of the judgements; to be changed in place."""
        return self.judging.counts

    def mean_so_far(self) -> list[float]:
        """Return how many judgements the mean is of, and the mean."""
        return [self._judged, self._mean]

    def set_mean(self, judged: float, mean: float) -> None:
        """Restore what `mean_so_far` returned."""
        self._judged, self._mean = int(judged), float(mean)

    def _is_due(self, row: int, stream: np.random.Generator) -> bool:
        if self._steps[row] % self._every:
            return False
        return self.probability == 1.0 or bool(stream.random() < self.probability)

    def _worth(self, judgement: int) -> float:
        if not self._center:
            return float(self._kept(judgement))
        worth = judgement - self._mean
        self._judged += 1
        self._mean += worth / self._judged
        return worth

    def _kept(self, judgement: int) -> int:
        if self._only == "negative":
            return min(judgement, 0)
        if self._only == "positive":
            return max(judgement, 0)
        return judgement
