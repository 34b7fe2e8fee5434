"""From a model's answer to goals: ELLM's rules, and what chat models make necessary."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["parse_goals"]

_THOUGHTS = "</think>"
_TRAILING = ('"""', "```")
_FENCE = re.compile(r"\s*(```|~~~).*")
_DASHED = re.compile(r"\s*-[-\s]*(?P<goal>.*)")
_LISTED = re.compile(r"\s*(?:[-+•\u2013\u2014]|\*\s|\(?\d{1,3}[.):](?!\d))[-\s]*(?P<goal>.*)")
_BOLD = re.compile(r"\*\*(?P<goal>[^*]+)\*\*.*")
_AROUND = " .\n\t"
_MARKUP = _AROUND + "*_`\"'"


def parse_goals(text: str, *, strict: bool = False) -> tuple[str, ...] | None:
    r"""Read the goals in a model's answer.

    The rule of ELLM (arXiv 2302.06692): a code fence at the end is ignored, then every line that is
    not empty begins with a dash, or the answer counts as unreadable. Goals are lower-cased, freed
    of spaces and full stops at both ends, and named once, in the order of the answer. A dash within
    a goal belongs to it (our choice).

    Without `strict`, what today's chat models also write is read (our choice): ``*``, ``+``,
    bullets and numbers in place of the dash; bold, quotes and backticks around a goal, and after a
    bold goal an explanation; code fences anywhere; sentences before, between and after the goals;
    thoughts up to ``</think>``.

    Args:
        text: The answer.
        strict: Whether to hold it to ELLM's own rule.

    Returns:
        The goals; None for an answer that is unreadable or names none.

    >>> parse_goals("- Chop tree.\n- drink water\n- chop tree")
    ('chop tree', 'drink water')
    >>> parse_goals("Here are some goals:\n1. **Chop tree**: it gives wood\n2. drink water")
    ('chop tree', 'drink water')
    >>> parse_goals("Here are some goals:\n1. Chop tree", strict=True) is None
    True
    """
    goals = _strict_goals(text) if strict else _tolerant_goals(text)
    return tuple(dict.fromkeys(goal for goal in goals if goal)) or None


def _strict_goals(text: str) -> list[str]:
    goals = []
    for line in _without_end(text).splitlines():
        dashed = _DASHED.fullmatch(line)
        if dashed:
            goals.append(_cleaned(dashed["goal"], _AROUND))
        elif line.strip():
            return []
    return goals


def _tolerant_goals(text: str) -> Iterable[str]:
    answer = _without_end(text.rpartition(_THOUGHTS)[2])
    for line in answer.splitlines():
        listed = None if _FENCE.fullmatch(line) else _LISTED.fullmatch(line)
        if listed:
            goal = listed["goal"].strip()
            bold = _BOLD.fullmatch(goal)
            yield _cleaned(bold["goal"].rstrip(": ") if bold else goal, _MARKUP)


def _without_end(text: str) -> str:
    text = text.strip()
    for ending in _TRAILING:
        text = text.removesuffix(ending).rstrip()
    return text


def _cleaned(goal: str, around: str) -> str:
    return " ".join(goal.lower().split()).strip(around)
