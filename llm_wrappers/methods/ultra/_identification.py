"""What a model says about critical steps, and which of it can be used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set

from pydantic import BaseModel, Field

from llm_wrappers.guidance.critical.finding import CriticalMoment

__all__ = ["DROPPED", "Identification", "most_important", "usable_moments"]

DROPPED = (
    "wrong_episode", "out_of_range", "not_shown", "not_finite",
    "duplicate", "too_many", "outranked",
)  # fmt: skip
"""Why a step that the model named is not among the selected ones."""


class PickedStep(BaseModel):
    """One step that the model calls critical."""

    episode: int = Field(description="the number of the episode")
    step: int = Field(description="the number of the step")
    rationale: str = Field(description="why it is critical, in one sentence")
    importance: float = Field(
        default=1.0, description="from 0 to 1, how much depends on the action in this step"
    )


class Identification(BaseModel):
    """What the model is asked for; it analyses first and then chooses."""

    case_analysis: str = Field(description="the effective and the ineffective behaviour")
    states: list[PickedStep] = Field(description="the critical steps")


def usable_moments(
    answer: Identification,
    *,
    shown: Mapping[int, Set[int]],
    lengths: Mapping[int, int],
    most: int,
    counts: Counter[str],
) -> list[CriticalMoment]:
    """Return the moments of one answer that can be used, and count the others.

    Args:
        answer: What the model said.
        shown: Episode -> the steps that the question showed.
        lengths: Episode -> how many steps it has.
        most: How many moments of each episode were asked for.
        counts: The kinds of `DROPPED` are counted in it, and ``clipped_importance``.
    """
    found: dict[int, list[CriticalMoment]] = {episode: [] for episode in shown}
    for picked in answer.states:
        fault = _fault(picked, shown, lengths)
        if fault:
            counts[fault] += 1
            continue
        moment = CriticalMoment(
            picked.episode, picked.step, min(max(picked.importance, 0.0), 1.0), picked.rationale
        )
        counts["clipped_importance"] += moment.importance != picked.importance
        found[picked.episode].append(moment)
    return [
        moment
        for moments in found.values()
        for moment in most_important(moments, most, counts=counts, as_kind="too_many")
    ]


def most_important(
    moments: Sequence[CriticalMoment], most: int, *, counts: Counter[str], as_kind: str
) -> list[CriticalMoment]:
    """Return the most important moments of one episode, in order of their steps.

    Args:
        moments: May have one step several times; the most important of these is taken.
        most: How many to return; of equally important ones the earlier.
        counts: What is left out is counted in it, as ``duplicate`` or `as_kind`.
        as_kind: The name for moments that are too many.
    """
    ranked = sorted(moments, key=lambda moment: (-moment.importance, moment.step))
    distinct: dict[int, CriticalMoment] = {}
    for moment in ranked:
        distinct.setdefault(moment.step, moment)
    kept = list(distinct.values())[:most]
    counts["duplicate"] += len(moments) - len(distinct)
    counts[as_kind] += len(distinct) - len(kept)
    return sorted(kept, key=lambda moment: moment.step)


def _fault(
    picked: PickedStep, shown: Mapping[int, Set[int]], lengths: Mapping[int, int]
) -> str | None:
    if picked.episode not in shown:
        return "wrong_episode"
    if not 0 <= picked.step < lengths[picked.episode]:
        return "out_of_range"
    if picked.step not in shown[picked.episode]:
        return "not_shown"
    return None if math.isfinite(picked.importance) else "not_finite"
