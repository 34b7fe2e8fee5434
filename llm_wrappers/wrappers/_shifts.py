"""What a step is worth, by a judge or by a potential (LMGT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.judge import Judge, Judging
from llm_wrappers.guidance.potential import Potential, Potentials
from llm_wrappers.parts import Part, Tally
from llm_wrappers.schedules import Schedule, resolve_schedule
from llm_wrappers.wrappers._core import Core, Step

__all__ = ["Agreement", "JudgedShift", "PotentialShift"]

_ONLY = (None, "negative", "positive")
_KINDS = ("good", "neutral", "bad")


class JudgedShift:
    """Judgements of (state, action), as numbers; batch first."""

    gamma: float | None = None

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
        self._only = checks.one_of("only", only, _ONLY)
        self._center = checks.flag("center", center)
        if center and only is not None:
            raise InvalidOptionError("center=True with only=... would bring back the dropped sign")
        self._every = checks.whole("consult_every", consult_every, least=1)
        self._schedule = resolve_schedule(consult_probability)
        self._judging = Judging(judge, caption=captioner.state_captions)
        self._mean = RunningMean()
        self.parts: dict[str, Part] = {"judging": self._judging, "mean": self._mean}
        self._n = n
        self._probability = 1.0
        self._steps = np.zeros(n, dtype=np.int64)

    def set_progress(self, core: Core) -> None:
        """Take the probability from its schedule, at the progress of a core."""
        self._probability = core.scheduled(self._schedule)

    def begin(self, facts: Sequence[Facts], rows: NDArray[np.intp], weight: float) -> None:
        """Begin episodes."""
        self._steps[rows] = 0
        fresh = np.zeros(self._n, dtype=np.bool_)
        fresh[rows] = True
        self._judging.reset(fresh)

    def forget(self) -> None:
        """Leave out nothing: a judgement needs no state but its own."""

    def worth(
        self, before: Sequence[Facts], actions: Sequence[Any], step: Step, weight: float
    ) -> tuple[NDArray[np.float64], list[int | None]]:
        """Return what is added to the n rewards, and the n judgements, None where there is none."""
        rows = step.rows.tolist()
        asked = [row for row in rows if self._is_due(row, step.streams[row])]
        self._steps[step.rows] += 1
        values = np.zeros(self._n)
        judgements: list[int | None] = [None] * self._n
        if asked:
            found = self._judging.judgements(before, actions, asked)
            for row, value in zip(asked, found, strict=True):
                judgements[row] = value
                if value is not None:
                    values[row] = weight * self._worth(value)
        return values, judgements

    def approvals(self, judgements: Sequence[int | None]) -> NDArray[np.float64]:
        """Return the judgements without the sign that is dropped; not a number where there is none.

        The mean is not taken off: it moves, and would make equal judgements differ.
        """
        kept = [np.nan if value is None else float(self._kept(value)) for value in judgements]
        return np.array(kept)

    def audit(self) -> dict[str, Any]:
        """Return shares of approval, neutrality, disapproval and of no judgement, and failures."""
        counts = self._judging.counts
        judged = sum(counts[kind] for kind in _KINDS)
        return {
            "judged": judged,
            **{f"share_{kind}": _share(counts[kind], judged) for kind in _KINDS},
            "share_unjudged": _share(counts["unjudged"], judged + counts["unjudged"]),
            "failures": counts["judge_failures"],
        }

    def _is_due(self, row: int, stream: np.random.Generator) -> bool:
        if self._steps[row] % self._every:
            return False
        return self._probability == 1.0 or bool(stream.random() < self._probability)

    def _worth(self, judgement: int) -> float:
        return self._mean.taken_off(judgement) if self._center else float(self._kept(judgement))

    def _kept(self, judgement: int) -> int:
        if self._only == "negative":
            return min(judgement, 0)
        if self._only == "positive":
            return max(judgement, 0)
        return judgement


class RunningMean:
    """The mean of the numbers so far, as a part."""

    def __init__(self) -> None:
        self._number, self._mean = 0, 0.0

    def taken_off(self, value: float) -> float:
        """Return a number without the mean of those before, and take it in."""
        worth = value - self._mean
        self._number += 1
        self._mean += worth / self._number
        return worth

    def stats(self) -> dict[str, Any]:
        """Return nothing: the mean is no counter."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return of how many numbers it is, and the mean."""
        return {"number": self._number, "mean": self._mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._number, self._mean = int(state["number"]), float(state["mean"])


class PotentialShift:
    """gamma Phi(s') - Phi(s), which leaves the best policy as it is; batch first.

    The potential of a terminal state is 0; that of a state in which an episode is cut off is not.
    A weight that changes during training belongs to the potential of the state that it was applied
    to, so that the sum over an episode still telescopes (Devlin and Kudenko, 2012).
    """

    def __init__(
        self, n: int, *, potential: Potential, captioner: Captioner, gamma: float | None
    ) -> None:
        if not checks.is_number(gamma) or not 0.0 <= gamma <= 1.0:
            raise InvalidOptionError(
                'mode="potential" needs gamma=..., the discount of the algorithm, in [0, 1]; got '
                f"{gamma!r}"
            )
        self.gamma = float(gamma)
        self._potentials = Potentials(potential, caption=captioner.state_captions)
        self._unshaped = Tally("unshaped")
        self.parts: dict[str, Part] = {"potentials": self._potentials, "unshaped": self._unshaped}
        self._n = n
        # Not a number where nobody knows.
        self._phi = np.full(n, np.nan)

    def set_progress(self, core: Core) -> None:
        """Change nothing: a potential is asked in every step."""

    def begin(self, facts: Sequence[Facts], rows: NDArray[np.intp], weight: float) -> None:
        """Look up the potentials of first states."""
        self._phi[rows] = weight * self._potentials.values(facts, rows.tolist())

    def forget(self) -> None:
        """Leave the next transition of each sub-environment unshaped."""
        self._phi[:] = np.nan

    def worth(
        self, after: Sequence[Facts], actions: Sequence[Any], step: Step, weight: float
    ) -> tuple[NDArray[np.float64], list[int | None]]:
        """Return the shaping of a step, 0 where a potential is not known, and no judgements."""
        rows = step.rows
        asked = rows[~step.terminated[rows]]
        reached = np.zeros(self._n)
        if len(asked):
            reached[asked] = weight * self._potentials.values(after, asked.tolist())
        shaped = self.gamma * reached[rows] - self._phi[rows]
        self._unshaped["unshaped"] += int(np.isnan(shaped).sum())
        self._phi[rows] = reached[rows]
        shifts = np.zeros(self._n)
        shifts[rows] = np.nan_to_num(shaped, nan=0.0)
        return shifts, [None] * self._n

    def audit(self) -> dict[str, Any]:
        """Return nothing: a potential judges no action."""
        return {}


class Agreement:
    """Compares judgements with those of a second judge of the same states and actions; a part."""

    def __init__(self, judge: Judge, captioner: Captioner) -> None:
        self._judging = Judging(judge, caption=captioner.state_captions)
        self._counts = Tally("compared", "agreed", "opposed")

    def compare(
        self,
        facts: Sequence[Facts],
        actions: Sequence[Any],
        judgements: Sequence[int | None],
    ) -> None:
        """Count where both have a judgement, where these are equal and where opposite."""
        rows = [row for row, value in enumerate(judgements) if value is not None]
        others = self._judging.judgements(facts, actions, rows)
        for row, other in zip(rows, others, strict=True):
            mine = judgements[row]
            if other is None or mine is None:
                continue
            self._counts["compared"] += 1
            self._counts["agreed"] += mine == other
            self._counts["opposed"] += mine * other < 0

    def report(self) -> dict[str, float | int | None]:
        """Return the counts and the share of agreement, None where nothing was compared."""
        return {
            **self._counts,
            "agreement": _share(self._counts["agreed"], self._counts["compared"]),
        }

    def stats(self) -> dict[str, Any]:
        """Return the counts, and the share where something was compared."""
        return {name: value for name, value in self.report().items() if value is not None}

    def state_dict(self) -> dict[str, int]:
        """Return the counts."""
        return self._counts.state_dict()

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restore what `state_dict` returned."""
        self._counts.load_state_dict(state)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
