"""Schedules: training progress in [0, 1] to a coefficient in [0, 1], as pure functions.

A schedule is given as a number, as a JSON-able dict such as ``{"kind": "linear", "start": 1.0,
"end": 0.5}``, as one of the classes below, or as any callable of one float.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError

__all__ = [
    "OUR_THREE_STAGES",
    "Constant",
    "Linear",
    "Schedule",
    "ThreeStageCosine",
    "coefficient",
    "resolve_schedule",
    "three_stage_cosine",
]

Schedule: TypeAlias = Callable[[float], float]

OUR_THREE_STAGES = ((0.2, 1.0, 0.9), (0.7, 0.9, 0.4), (1.0, 0.4, 0.0))
"""(end of the stage, coefficient at its start, at its end): our choice, SGRL's is not published."""


@dataclass(frozen=True)
class Constant:
    """The same coefficient throughout.

    >>> Constant(0.5)(0.9)
    0.5
    """

    value: float

    def __post_init__(self) -> None:
        checks.number("value", self.value, least=0, most=1)

    def __call__(self, progress: float) -> float:
        """Return the coefficient."""
        return self.value


@dataclass(frozen=True)
class Linear:
    """A straight line from `start` to `end`, which it reaches at progress `until` and then keeps.

    >>> Linear(1.0, 0.0, until=0.5)(0.25)
    0.5
    """

    start: float
    end: float
    until: float = 1.0

    def __post_init__(self) -> None:
        checks.number("start", self.start, least=0, most=1)
        checks.number("end", self.end, least=0, most=1)
        checks.number("until", self.until, least=0, most=1)
        if self.until == 0:
            raise InvalidOptionError("until must be above 0; use a constant schedule instead")

    def __call__(self, progress: float) -> float:
        """Return the coefficient at `progress`."""
        share = min(max(progress, 0.0) / self.until, 1.0)
        return (1.0 - share) * self.start + share * self.end


@dataclass(frozen=True)
class ThreeStageCosine:
    """SGRL's mask coefficient: three stages, half a cosine wave inside each (arXiv 2509.22008).

    In a stage from progress p0 to p1 the coefficient goes from a to b as
    b + (a - b) / 2 * (1 + cos(pi * (p - p0) / (p1 - p0))); after the last stage it stays. The
    paper publishes neither the boundaries nor the values: the default ones are our choice.

    Args:
        stages: Three triples (progress at the end of the stage, coefficient at its start, at its
            end), in order, never rising.

    Raises:
        InvalidOptionError: If the stages are not three, not in order, rising, or outside [0, 1].

    >>> schedule = ThreeStageCosine()
    >>> schedule(0.0), round(schedule(0.45), 3), schedule(1.0)
    (1.0, 0.65, 0.0)
    """

    stages: Sequence[Sequence[float]] = OUR_THREE_STAGES

    def __post_init__(self) -> None:
        if len(self.stages) != 3 or any(len(stage) != 3 for stage in self.stages):
            raise InvalidOptionError(
                f"expected three stages (end, coefficient at start, at end), got {self.stages!r}"
            )
        highest, begin = 1.0, 0.0
        for end, first, last in self.stages:
            for name, value in (("end", end), ("first", first), ("last", last)):
                checks.number(f"{name} of a stage", value, least=0, most=1)
            if end <= begin or first > highest or last > first:
                raise InvalidOptionError(
                    "stages must end later and later and never rise, got "
                    f"{tuple(tuple(stage) for stage in self.stages)!r}"
                )
            begin, highest = end, last

    def __call__(self, progress: float) -> float:
        """Return the coefficient at `progress`."""
        begin = 0.0
        for end, first, last in self.stages:
            if progress < end:
                share = max(progress - begin, 0.0) / (end - begin)
                wave = 0.5 * (1.0 + math.cos(math.pi * share))
                if wave == 1.0:
                    # The sum below could be one rounding off.
                    return first
                return min(max(last + (first - last) * wave, last), first)
            begin = end
        return float(self.stages[-1][2])


def three_stage_cosine(stages: Sequence[Sequence[float]] = OUR_THREE_STAGES) -> ThreeStageCosine:
    """Return SGRL's three-stage cosine schedule; see `ThreeStageCosine`.

    >>> three_stage_cosine(((0.5, 1.0, 1.0), (0.9, 1.0, 0.2), (1.0, 0.2, 0.2)))(0.4)
    1.0
    """
    return ThreeStageCosine(stages)


_KINDS: dict[str, Callable[..., Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "three_stage_cosine": ThreeStageCosine,
}


def resolve_schedule(schedule: float | Mapping[str, Any] | Schedule) -> Schedule:
    """Return the schedule that a number, a JSON-able dict or a callable stands for.

    Raises:
        InvalidOptionError: If it stands for none, is outside [0, 1] at the start or the end, or is
            adaptive: see `llm_wrappers.trust` for the wrappers that can use these.

    >>> resolve_schedule(0.5)(0.1)
    0.5
    >>> resolve_schedule({"kind": "linear", "start": 1.0, "end": 0.0})(1.0)
    0.0
    """
    _refuse_adaptive(schedule)
    if isinstance(schedule, Mapping):
        schedule = _from_mapping(schedule)
    elif isinstance(schedule, int | float) and not isinstance(schedule, bool):
        schedule = Constant(float(schedule))
    if not callable(schedule):
        raise InvalidOptionError(
            "expected a number in [0, 1], a dict with a 'kind' or a callable of the training "
            f"progress, got {schedule!r}"
        )
    for progress in (0.0, 0.5, 1.0):
        coefficient(schedule, progress)
    return schedule


def coefficient(schedule: Schedule, progress: float) -> float:
    """Return the schedule's value at `progress`, checked to lie in [0, 1].

    Raises:
        InvalidOptionError: If the progress or the value lies outside.
    """
    checks.number("progress", progress, least=0, most=1)
    value = schedule(progress)
    return checks.number(
        f"a schedule's value (here at progress {progress})", value, least=0, most=1
    )


def _from_mapping(options: Mapping[str, Any]) -> Schedule:
    arguments = dict(options)
    kind = arguments.pop("kind", None)
    if kind not in _KINDS:
        raise InvalidOptionError(f"expected a 'kind' among {sorted(_KINDS)}, got {dict(options)!r}")
    try:
        return _KINDS[kind](**arguments)
    except TypeError as error:
        raise InvalidOptionError(f"schedule {kind!r}: {error}") from error


def _refuse_adaptive(schedule: Any) -> None:
    kind = schedule.get("kind") if isinstance(schedule, Mapping) else None
    if kind == "adaptive" or hasattr(schedule, "observe"):
        raise InvalidOptionError(
            "an adaptive schedule learns from finished episodes, and nothing reports them here; "
            f"give a plain one, got {schedule!r}"
        )
