"""What a model says about moments, and which of it can be used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field, create_model

from llm_wrappers.guidance.critical.finding import CriticalMoment
from llm_wrappers.methods.ultra._actions import ActionForm
from llm_wrappers.methods.ultra._rejected_action import REJECTED, RejectedAction

__all__ = ["UNUSABLE", "answer_model", "usable_corrections"]

UNUSABLE = ("not_asked", "duplicate", *REJECTED)
"""Why a correction of the model is not used."""


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
    """Return (episode, step) -> action and reward, and count what cannot be used.

    Args:
        corrections: What the model said; of several about one step the first is taken.
        moments: What was asked about.
        form: How actions are written.
        counts: The kinds of `UNUSABLE` are counted in it, and ``clipped_actions`` and
            ``clipped_rewards``.
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
