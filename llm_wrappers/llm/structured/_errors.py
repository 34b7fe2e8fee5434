"""Saying what is wrong with a structured answer, to people and to models."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

__all__ = ["describe", "shortened"]

_MOST_LINES = 8
_LONGEST_VALUE = 60
_SELF_EXPLAINING = {
    "missing": "expected this field, got nothing",
    "extra_forbidden": "expected no such field",
}


def describe(error: ValidationError) -> str:
    """Return one line for each thing that is wrong, the first ones of many."""
    details = error.errors(include_url=False, include_context=False)
    lines = [_line(detail) for detail in details[:_MOST_LINES]]
    if len(details) > _MOST_LINES:
        lines.append(f"- and {len(details) - _MOST_LINES} more")
    return "\n".join(lines)


def shortened(value: Any) -> str:
    """Return a value as JSON, cut where it is long.

    >>> shortened({"goal": "water"})
    '{"goal": "water"}'
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _line(detail: ErrorDetails) -> str:
    path = _path(detail["loc"])
    known = _SELF_EXPLAINING.get(detail["type"])
    if known is not None:
        return f"- {path}: {known}"
    return f"- {path}: {_expected(detail['msg'])}, got {shortened(detail['input'])}"


def _path(places: tuple[int | str, ...]) -> str:
    path = ""
    for place in places:
        if isinstance(place, int):
            path += f"[{place}]"
        else:
            path += f".{place}" if path else place
    return path or "the whole answer"


def _expected(message: str) -> str:
    for beginning in ("Input should be ", "Value error, ", "Assertion failed, "):
        if message.startswith(beginning):
            message = message.removeprefix(beginning)
            return message if beginning != "Input should be " else f"expected {message}"
    return message[:1].lower() + message[1:]
