"""Reading the score in a model's answer."""

from __future__ import annotations

import re

__all__ = ["parse_number", "parse_score"]

_LABEL = re.compile(r"(?<!\w)score[ \t*_`]*:", re.IGNORECASE)
_AROUND = " \t\r*_`."
_MINUS = "\u2212"
_SCORES = {"+1": 1, "1": 1, "0": 0, "-1": -1}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_THINKING, _THOUGHT = "<think>", "</think>"


def parse_score(answer: str | None) -> int | None:
    r"""Return the judgement in an answer: -1, 0 or +1; None for an answer that cannot be read.

    The last ``SCORE:`` of the answer counts, in any case, with nothing but ``+1``, ``1``, ``0`` or
    ``-1`` (with a hyphen or a minus sign) on the rest of its line; bold type and a full stop do no
    harm. Numbers anywhere else are never read: a model that thinks aloud writes many. How the paper
    reads answers is not known; this rule is ours.

    Args:
        answer: The text; None, where a provider gave none, cannot be read.

    >>> parse_score("A push to the left, -1, would be worse.\n**SCORE: +1**")
    1
    >>> parse_score("SCORE: 7") is None
    True
    """
    found = _scored(answer)
    return None if found is None else _SCORES.get(found)


def parse_number(answer: str | None) -> float | None:
    """Return the number from -1 to 1 in an answer; None for an answer that cannot be read.

    The line is found as by `parse_score`. A number outside of the range cannot be read.

    Args:
        answer: The text.

    >>> parse_number("SCORE: -0.25")
    -0.25
    >>> parse_number("SCORE: 80") is None
    True
    """
    found = _scored(answer)
    if found is None or not _NUMBER.fullmatch(found):
        return None
    number = float(found)
    return number if -1.0 <= number <= 1.0 else None


def _scored(answer: str | None) -> str | None:
    """Return what stands behind the last label of the part that is no thinking."""
    said = (answer or "").rpartition(_THOUGHT)[2].partition(_THINKING)[0]
    labels = list(_LABEL.finditer(said))
    if not labels:
        return None
    line = said[labels[-1].end() :].partition("\n")[0]
    return line.strip(_AROUND).replace(_MINUS, "-")
