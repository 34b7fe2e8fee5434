"""Rewards shifted by judgements of what the agent does (LMGT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.judge import Judge, JudgeFunction
from llm_wrappers.guidance.judges.names import resolve_judge, resolve_potential
from llm_wrappers.guidance.potential import Potential, PotentialFunction
from llm_wrappers.parts import Part
from llm_wrappers.schedules import Schedule
from llm_wrappers.trust import EpisodeReturns, TrustEvidence, refuse_trust, resolve_trusted
from llm_wrappers.wrappers._core import Core, Place, Start, Step
from llm_wrappers.wrappers._guided import Guided
from llm_wrappers.wrappers._layer import Layer
from llm_wrappers.wrappers._shifts import Agreement, JudgedShift, PotentialShift

__all__ = ["RewardShiftWrapper", "Shift", "ShiftMethods"]

_MODES = ("raw", "potential")
_NOT_FOR_POTENTIALS = (
    'mode="potential" has no judgements to learn trust from, and leaves the best policy as it is; '
    'give a plain schedule, or mode="raw"'
)
_OF_RAW_ONLY = {"only": None, "center": False, "consult_every": 1, "consult_probability": 1.0}


class Shift(Core):
    """Judges steps and shifts their rewards; the options are those of `RewardShiftWrapper`."""

    def __init__(
        self,
        place: Place,
        *,
        judge: str | Judge | JudgeFunction | Potential | PotentialFunction,
        captioner: Captioner | None,
        mode: str,
        scale: float,
        schedule: float | Mapping[str, Any] | Schedule,
        gamma: float | None,
        audit_against: str | Judge | JudgeFunction | None,
        training: bool,
        **raw: Any,
    ) -> None:
        n = place.n
        self._scale = checks.number("scale", scale, least=0)
        checks.one_of("mode", mode, _MODES)
        voice = place.world.voice(captioner)
        self._schedule = resolve_trusted(schedule)
        self._source: JudgedShift | PotentialShift
        if mode == "raw":
            found = resolve_judge(judge, description=voice.captioner.description)  # type: ignore[arg-type]
            self._source = JudgedShift(n, judge=found, captioner=voice.captioner, **raw)
        else:
            refuse_trust(self._schedule, _NOT_FOR_POTENTIALS)
            self._source = _potential_shift(n, voice.captioner, judge, gamma, raw)
        self._is_raw = mode == "raw"
        self._agreement = _agreement(voice.captioner, audit_against, mode)
        self._returns = EpisodeReturns(n)
        self._evidence = TrustEvidence(n, self._schedule)
        parts: dict[str, Part] = {
            **self._source.parts, "returns": self._returns, "trust": self._evidence,
        }  # fmt: skip
        if self._agreement is not None:
            parts["agreement"] = self._agreement
        told = {"reward_shift": np.zeros(n), "judgement": np.zeros(n, dtype=np.int64)}
        super().__init__(place, told, parts=parts, voice=voice)
        self.needs_ends = self._evidence.trust is not None
        self._before: Sequence[Facts] = ()
        self._shifts = np.zeros(n)
        self.set_training(checks.flag("training", training))
        self.set_progress(self.progress)

    @property
    def gamma(self) -> float | None:
        """The discount that the shaping assumes; None where it assumes none."""
        return self._source.gamma

    def begin(self, start: Start) -> None:
        """Begin episodes; nothing is judged yet."""
        super().begin(start)
        assert self.voice is not None
        self._before = self.voice.shown()
        self._returns.begin(start.rows)
        self._evidence.begin(start.rows)
        if self.training:
            self._source.begin(self._before, start.rows, self._weight)

    def step(self, step: Step) -> None:
        """Judge what was done."""
        assert self.voice is not None
        self._returns.add(step.rewards, step.rows, step.ended)
        self._is_identity = not self.training or self._weight == 0.0
        if self.training:
            self._judge(step)
        else:
            self.told["reward_shift"][:] = self.told["judgement"][:] = 0
        self._before = self.voice.shown()

    def pay(self, rewards: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return the shifted rewards."""
        return None if self._is_identity else rewards + self._shifts

    def set_training(self, training: bool) -> None:
        """Switch shifting on or off; while off no judge is asked."""
        super().set_training(training)
        self._source.forget()

    def set_progress(self, progress: float) -> None:
        """Set the training progress, from which the schedules give coefficients."""
        super().set_progress(progress)
        self._weight = self._scale * self.scheduled(self._schedule)
        self._source.set_progress(self)

    def audit(self) -> dict[str, Any]:
        """Return how good the judgements were, as far as it can be known."""
        compared = {} if self._agreement is None else self._agreement.report()
        return {**self._source.audit(), **compared}

    def stats(self) -> dict[str, Any]:
        """Return the counters, the audit and the present weight."""
        audit = {name: value for name, value in self.audit().items() if value is not None}
        return {**super().stats(), **audit, "weight": self._weight}

    def _judge(self, step: Step) -> None:
        assert self.voice is not None
        facts = self._before if self._is_raw else self.voice.reached()
        shifts, judgements = self._source.worth(facts, step.spoken, step, self._weight)
        if self._agreement is not None:
            self._agreement.compare(self._before, step.spoken, judgements)
        self._shifts = self.told["reward_shift"][:] = shifts
        self.told["judgement"][:] = [value or 0 for value in judgements]
        if self._evidence.trust is not None and isinstance(self._source, JudgedShift):
            approvals = self._source.approvals(judgements)
            self._evidence.learn(approvals, step.paid, step.rows, step.ended)
            self.set_progress(self.progress)


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


def _agreement(captioner: Captioner, judge: Any, mode: str) -> Agreement | None:
    if judge is None:
        return None
    if mode != "raw":
        raise InvalidOptionError('audit_against compares judgements, which only mode="raw" has')
    return Agreement(resolve_judge(judge, description=captioner.description), captioner)


class ShiftMethods(Layer):
    """The options and methods of `RewardShiftWrapper`, in front of one environment or of many."""

    core: Shift

    def __init__(
        self,
        env: Any,
        *,
        judge: str | Judge | JudgeFunction | Potential | PotentialFunction,
        captioner: Captioner | None = None,
        mode: str = "raw",
        scale: float = 1.0,
        schedule: float | Mapping[str, Any] | Schedule = 1.0,
        only: str | None = None,
        center: bool = False,
        consult_every: int = 1,
        consult_probability: float | Mapping[str, Any] | Schedule = 1.0,
        gamma: float | None = None,
        audit_against: str | Judge | JudgeFunction | None = None,
        training: bool = True,
    ) -> None:
        self._guide(
            env, Shift, judge=judge, captioner=captioner, mode=mode, scale=scale,
            schedule=schedule, only=only, center=center, consult_every=consult_every,
            consult_probability=consult_probability, gamma=gamma, audit_against=audit_against,
            training=training,
        )  # fmt: skip

    def shaping_gamma(self) -> float | None:
        """Return the discount that the shaping assumes; None where it assumes none."""
        return self.core.gamma

    def audit(self) -> dict[str, Any]:
        """Return how good the judgements were, as far as it can be known.

        The shares of approval, neutrality and disapproval, of consultations without a judgement,
        the failures, and with `audit_against` the agreement with that judge. A share of nothing is
        None.
        """
        return self.core.audit()


class RewardShiftWrapper(ShiftMethods, Guided):
    """Adds a judgement of the state and the action taken in it to the reward.

    Implements LMGT (arXiv 2409.04744): r + scale * judge(s, a), where s is the state *before* the
    step and the judgement is +1, 0 or -1. **That shift is not policy-invariant:** an agent can live
    off approval and never finish its task, the more so the larger scale / (1 - gamma) is compared
    with what the environment pays. ``mode="potential"`` is: it adds gamma * Phi(s') - Phi(s) (Ng,
    Harada and Russell, 1999), with Phi = 0 in terminal states, and leaves the best policy as it is.

    ``info`` has the reward of the environment (`extrinsic_reward`), what was added (`reward_shift`)
    and the `judgement`, 0 where there is none; at a reset all are 0.

    A judge that fails costs a step its judgement, not the run its life: it is counted in `stats`
    and a warning is issued once. `audit` says how good the judgements were.

    A vector version exists: `llm_wrappers.wrappers.vector.RewardShiftWrapper`.

    Args:
        env: The environment.
        judge: A judge; a function from `States` and n actions to n judgements; or a name:
            ``"reference"`` and ``"oracle"`` for classic control, Blackjack, FrozenLake, pocket
            watches, the household, RecSim and Pong, ``"file:TABLE.json"``, ``"llm:MODEL"``, and for
            ablations ``"anti-oracle"``,
            ``"noisy:0.2"``, ``"random"``, ``"constant:1"``, ``"none"``. With ``mode="potential"`` a
            potential: an object with ``values(states)``, a function, or ``"reference"``.
        captioner: Puts states into words; None for the environment's own, or a generic one.
        mode: ``"raw"``, as in the paper, or ``"potential"``.
        scale: What judgements are multiplied with, at least 0. The paper's sizes for its
            environments are not known to us; 1 is its rule.
        schedule: A coefficient on the scale: a number, a dict such as ``{"kind": "linear",
            "start": 1.0, "end": 0.0}``, or a callable of the training progress; with
            ``{"kind": "adaptive"}`` it falls where judgements do not pay, see `AdaptiveTrust`. In
            potential mode a changing coefficient belongs to the potential, so that the best policy
            stays, and trust is not needed.
        only: ``"negative"`` drops approval (safe where a goal is to be reached), ``"positive"``
            drops disapproval; None keeps both. Ours, as are the four options below.
        center: Whether the mean of all judgements so far is taken off, so that approval of
            everything adds nothing.
        consult_every: The judge is asked in each k-th step of an episode.
        consult_probability: With which probability it is asked: a number, or a schedule.
        gamma: The discount of the algorithm; required with ``mode="potential"``.
        audit_against: A second judge whose judgements are compared; None for none.
        training: False switches all of it off: rewards pass through and no judge is asked.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If a name is not known, or not for this environment.
        GuidanceFileError: If a file is missing or holds no table.

    >>> import gymnasium as gym
    >>> env = RewardShiftWrapper(gym.make("CartPole-v1"), judge="reference", scale=0.5)
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(1)
    >>> reward, info["extrinsic_reward"], info["judgement"]
    (0.5, 1.0, -1)
    """
