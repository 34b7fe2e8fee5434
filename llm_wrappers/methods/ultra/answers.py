"""What a model says about critical steps and what to do there, and which of it can be used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any

from pydantic import BaseModel, Field, create_model

from llm_wrappers.guidance.critical.finding import CriticalMoment
from llm_wrappers.methods.ultra.actions import REJECTED, ActionForm, RejectedAction

__all__ = [
    "DROPPED",
    "UNUSABLE",
    "Identification",
    "answer_model",
    "most_important",
    "usable_corrections",
    "usable_moments",
]

DROPPED = (
    "wrong_episode", "out_of_range", "not_shown", "not_finite",
    "duplicate", "too_many", "outranked",
)  # fmt: skip
"""Why a step that the model named is not among the selected ones."""

UNUSABLE = ("not_asked", "duplicate", *REJECTED)
"""Why a correction of the model is not used."""


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
    """Return the moments of one answer that can be used, and count the others as `DROPPED`.

    Args:
        answer: What the model said.
        shown: Episode -> the steps that the question showed.
        lengths: Episode -> how many steps it has.
        most: How many moments of each episode were asked for.
        counts: ``clipped_importance`` is counted in it too.

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

    Of several of one step the most important is taken, of equally important ones the earlier. What
    is left out is counted as ``duplicate`` or `as_kind`.

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


def answer_model(form: ActionForm) -> type[BaseModel]:
    """Return the form of an answer whose actions are written in a certain way."""
    correction = create_model(
        "Correction",
        episode=(int, Field(description="the number of the episode")),
        step=(int, Field(description="the number of the step")),
        analysis=(str, Field(description="what is going on there, and what each action leads to")),
        action=(form.answer_type, Field(description=f"the appropriate action: {form.in_words}")),
        reward=(float, Field(description="how effective the agent's own action was, -1 to 1")),
    )
    return create_model(
        "Corrections",
        corrections=(list[correction], Field(description="one for each marked step")),  # type: ignore[valid-type]
    )


def usable_corrections(
    corrections: Sequence[Any],
    moments: Sequence[CriticalMoment],
    *,
    form: ActionForm,
    counts: Counter[str],
) -> dict[tuple[int, int], tuple[Any, float]]:
    """Return (episode, step) -> action and reward, and count the rest as `UNUSABLE`.

    Of several corrections of one step the first is taken. ``clipped_actions`` and
    ``clipped_rewards`` are counted too.

    """
    wanted = {(moment.episode, moment.step) for moment in moments}
    found: dict[tuple[int, int], tuple[Any, float]] = {}
    for correction in corrections:
        place = (correction.episode, correction.step)
        if place not in wanted or place in found:
            counts["duplicate" if place in found else "not_asked"] += 1
            continue
        try:
            action, clipped = form.read(correction.action)
            if not math.isfinite(correction.reward):
                raise RejectedAction("not_finite")
        except RejectedAction as error:
            counts[str(error)] += 1
            continue
        reward = min(max(correction.reward, -1.0), 1.0)
        counts["clipped_actions"] += clipped
        counts["clipped_rewards"] += reward != correction.reward
        found[place] = (action, reward)
    return found
