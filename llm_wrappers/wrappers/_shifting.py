"""Shifting the rewards of n sub-environments (LMGT)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.adaptive_trust import refuse_trust, resolve_trusted
from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.judge import Judge, JudgeFunction
from llm_wrappers.guidance.judges.names import resolve_judge, resolve_potential
from llm_wrappers.guidance.potential import Potential, PotentialFunction
from llm_wrappers.schedules import Schedule, coefficient
from llm_wrappers.wrappers._agreement import Agreement
from llm_wrappers.wrappers._judged_shift import JudgedShift
from llm_wrappers.wrappers._potential_shift import PotentialShift
from llm_wrappers.wrappers._returns import EpisodeReturns
from llm_wrappers.wrappers._trust_evidence import TrustEvidence

__all__ = ["MODES", "Shifted", "Shifting"]

MODES = ("raw", "potential")
_NOT_FOR_POTENTIALS = (
    'mode="potential" has no judgements to learn trust from, and leaves the best policy as it is; '
    'give a plain schedule, or mode="raw"'
)
_OF_RAW_ONLY = {"only": None, "center": False, "consult_every": 1, "consult_probability": 1.0}


@dataclass(frozen=True)
class Shifted:
    """What a step was worth in each of n sub-environments; neutral where there was none.

    Args:
        shift: What is added to the reward, shape (n,).
        judgement: -1, 0 or +1, shape (n,); 0 where there is none.
    """

    shift: NDArray[np.float64]
    judgement: NDArray[np.int64]

    @classmethod
    def neutral(cls, n: int) -> Shifted:
        """Return the outcome of a reset."""
        return cls(np.zeros(n), np.zeros(n, dtype=np.int64))


class Shifting:
    """Judges steps and says by how much their rewards shift; shared by both wrappers.

    Args:
        n: The number of sub-environments.
        captioner: Gives facts and captions.
        judge: A judge, or with ``mode="potential"`` a potential; an object, function or name.
        mode: ``"raw"`` or ``"potential"``.
        scale: At least 0.
        schedule: What `resolve_trusted` takes; its value is multiplied with the scale.
        gamma: The discount of the algorithm; required with ``mode="potential"``.
        audit_against: A second judge to compare with, or None.
        training: Whether rewards are shifted at all.
        raw: The options that only ``mode="raw"`` has: see `JudgedShift`.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
    """

    def __init__(
        self,
        n: int,
        *,
        captioner: Captioner,
        judge: str | Judge | JudgeFunction | Potential | PotentialFunction,
        mode: str,
        scale: float,
        schedule: float | Mapping[str, Any] | Schedule,
        gamma: float | None,
        audit_against: str | Judge | JudgeFunction | None,
        training: bool,
        **raw: Any,
    ) -> None:
        number = isinstance(scale, int | float) and not isinstance(scale, bool)
        if not number or not 0.0 <= scale < math.inf:
            raise InvalidOptionError(f"scale must be a finite number >= 0, got {scale!r}")
        if mode not in MODES:
            raise InvalidOptionError(f"mode must be one of {MODES}, got {mode!r}")
        self.captioner = captioner
        self.facts: Sequence[Facts] | None = None
        self.returns = EpisodeReturns(n)
        self._n = n
        self._scale = float(scale)
        self._schedule = resolve_trusted(schedule)
        self._evidence = TrustEvidence(n, self._schedule)
        self._approvals = np.full(n, np.nan)
        self._judged: JudgedShift | None = None
        self._potential: PotentialShift | None = None
        self._agreement: Agreement | None = None
        if mode == "raw":
            self._judged = _raw_shift(n, captioner, judge, raw)
        else:
            refuse_trust(self._schedule, _NOT_FOR_POTENTIALS)
            self._potential = _potential_shift(n, captioner, judge, gamma, raw)
        if audit_against is not None:
            self._agreement = _agreement(captioner, audit_against, mode)
        self.set_training(training)
        self.set_progress(0.0)

    @property
    def is_identity(self) -> bool:
        """Whether the rewards of the layers below pass through as they are."""
        return not self.training or self._weight == 0.0

    @property
    def gamma(self) -> float | None:
        """The discount that the shaping assumes; None where it assumes none."""
        return None if self._potential is None else self._potential.gamma

    def set_training(self, training: bool) -> None:
        """Switch shifting on or off; while off no judge is asked.

        Raises:
            InvalidOptionError: If it is no bool.
        """
        if not isinstance(training, bool):
            raise InvalidOptionError(f"training must be True or False, got {training!r}")
        self.training = training
        if self._potential is not None:
            self._potential.forget()

    def set_progress(self, progress: float) -> None:
        """Set the training progress, in [0, 1], from which the schedules give coefficients."""
        self.coefficient = coefficient(self._schedule, progress)
        self.progress = float(progress)
        self._weight = self._scale * self.coefficient
        if self._judged is not None:
            self._judged.set_progress(progress)

    def judge(
        self,
        actions: Sequence[Any],
        after: Sequence[Facts],
        rows: NDArray[np.intp],
        terminated: NDArray[np.bool_],
        streams: Sequence[np.random.Generator],
    ) -> Shifted:
        """Return the shifts of a step from `self.facts`.

        Args:
            actions: The actions of all n.
            after: The facts of all n after the step.
            rows: Which of them took a step.
            terminated: Where the step ended the task, shape (n,).
            streams: The n random generators.
        """
        self._approvals[:] = np.nan
        if not self.training:
            return Shifted.neutral(self._n)
        if self._potential is not None:
            shifts = self._potential.shifts(after, rows, terminated, self._weight)
            return Shifted(shifts, np.zeros(self._n, dtype=np.int64))
        assert self._judged is not None
        assert self.facts is not None
        places: list[int] = rows.tolist()
        values, judgements = self._judged.values(self.facts, actions, places, streams)
        if self._agreement is not None:
            self._agreement.compare(self.facts, actions, judgements)
        self._approvals[:] = self._judged.approvals(judgements)
        shown = np.array([value or 0 for value in judgements], dtype=np.int64)
        return Shifted(self._weight * values, shown)

    def learn(self, paid: Any, rows: NDArray[np.intp], ended: NDArray[np.bool_]) -> None:
        """Report the judged step to a schedule that adapts; call it before `move`.

        Args:
            paid: What the environment paid, shape (n,).
            rows: Which of the n took a step.
            ended: Where an episode ended, shape (n,).
        """
        if self._evidence.trust is not None:
            self._evidence.learn(self._approvals, paid, rows, ended)
            self.set_progress(self.progress)

    def move(self, facts: Sequence[Facts], fresh: NDArray[np.bool_] | None = None) -> None:
        """Go to the next states.

        Args:
            facts: Of all n sub-environments.
            fresh: Where an episode begins, shape (n,).
        """
        self.facts = facts
        if fresh is None or not fresh.any():
            return
        self.returns.begin(fresh)
        self._evidence.begin(fresh)
        if not self.training:
            return
        if self._judged is not None:
            self._judged.begin(facts, fresh)
        if self._potential is not None:
            self._potential.begin(facts, fresh, self._weight)

    def audit(self) -> dict[str, Any]:
        """Return how good the judgements were, as far as it can be known.

        The shares of approval, of neutrality and of disapproval among the judgements; the share of
        consultations without one; the failures; with `audit_against` the agreement with that
        judge. A share of nothing is None.
        """
        if self._judged is None:
            return {}
        counts = self._judged.judging.counts
        judged = counts["good"] + counts["neutral"] + counts["bad"]
        shares = {f"share_{kind}": _share(counts[kind], judged) for kind in _KINDS}
        unjudged = _share(counts["unjudged"], judged + counts["unjudged"])
        compared = {} if self._agreement is None else self._agreement.report()
        return {
            "judged": judged,
            **shares,
            "share_unjudged": unjudged,
            "failures": counts["judge_failures"],
            **compared,
        }

    def stats(self) -> dict[str, Any]:
        """Return the counters since construction and the present weight."""
        if self._judged is not None:
            source = self._judged.judging.stats()
        else:
            source = {**self._counters()[0], **self._work()}
        audit = {name: value for name, value in self.audit().items() if value is not None}
        trust = self._evidence.stats()
        return {**source, "weight": self._weight, **self.returns.stats(), **audit, **trust}

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode: `counts` of the run, and of the `work` done for it."""
        counts = {name: value for part in self._counters() for name, value in part.items()}
        state = {
            "progress": self.progress, "training": self.training, "counts": counts,
            "work": self._work(), "returns": self.returns.stats(), **self._evidence.state_dict(),
        }  # fmt: skip
        return state if self._judged is None else {**state, "mean": self._judged.mean_so_far()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it is the state of something else.
        """
        self._evidence.require_fit(state)
        mine = self.state_dict()
        if state.keys() != mine.keys() or state["counts"].keys() != mine["counts"].keys():
            raise InvalidOptionError(
                f"expected the state of {sorted(mine['counts'])}, got "
                f"{sorted(state.get('counts', {}))}; this is the state of another wrapper or mode"
            )
        self._evidence.load_state_dict(state)
        self.set_progress(state["progress"])
        self.set_training(state["training"])
        self.returns.load(state["returns"])
        for part in self._counters():
            part.update({name: state["counts"][name] for name in part})
        if self._judged is not None:
            self._judged.set_mean(*state["mean"])
            self._judged.judging.pairs_asked = state["work"]["pairs_asked"]
        if self._potential is not None:
            self._potential.states_asked = state["work"]["states_asked"]

    def _counters(self) -> list[dict[str, int]]:
        parts = (self._judged, self._potential, self._agreement)
        return [part.counts for part in parts if part is not None]

    def _work(self) -> dict[str, int]:
        if self._potential is not None:
            return {"states_asked": self._potential.states_asked}
        assert self._judged is not None
        return {"pairs_asked": self._judged.judging.pairs_asked}


_KINDS = ("good", "neutral", "bad")


def _raw_shift(n: int, captioner: Captioner, judge: Any, raw: Mapping[str, Any]) -> JudgedShift:
    found = resolve_judge(judge, description=captioner.description)
    return JudgedShift(n, judge=found, captioner=captioner, **raw)


def _potential_shift(
    n: int, captioner: Captioner, potential: Any, gamma: float | None, raw: Mapping[str, Any]
) -> PotentialShift:
    changed = sorted(name for name, value in raw.items() if value != _OF_RAW_ONLY[name])
    if changed:
        raise InvalidOptionError(
            f'{", ".join(changed)}: only for mode="raw"; a potential shapes every step'
        )
    found = resolve_potential(potential, description=captioner.description)
    return PotentialShift(n, potential=found, captioner=captioner, gamma=gamma)


def _agreement(captioner: Captioner, judge: Any, mode: str) -> Agreement:
    if mode != "raw":
        raise InvalidOptionError('audit_against compares judgements, which only mode="raw" has')
    return Agreement(resolve_judge(judge, description=captioner.description), captioner)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
