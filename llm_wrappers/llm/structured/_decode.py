"""Reading one JSON value as a model writes it."""

from __future__ import annotations

import json
import math
import re
from typing import Any

__all__ = ["decode"]

_SIGNS = "\u2010-\u2013\u2212\ufe58\ufe63\uff0d"
_SPACES = "\u000b\u000c\u0085\u00a0\u1680\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
# Strings come first, so that nothing inside of them is touched.
_ODDITY = re.compile(
    r'(?P<string>"[^"\\]*(?:\\.[^"\\]*)*")'
    rf"|(?P<minus>[{_SIGNS}])(?=\d)"
    r"|(?P<plus>(?<![eE\d.])\+)(?=\d)"
    rf"|(?P<space>[{_SPACES}])",
    re.DOTALL,
)
_INSTEAD = {"minus": "-", "plus": "", "space": " "}
_CONTEXT = 25


def decode(text: str) -> Any:
    """Return the value of a JSON text.

    Outside of strings, typographic minus signs and spaces count as the plain ones, and a number may
    have a plus sign. Line breaks inside of strings are taken as they are.

    Raises:
        ValueError: If it is no JSON, has a number that is not finite, or gives a key twice.

    >>> decode('{"shift": \u22120.5}')
    {'shift': -0.5}
    """
    try:
        return json.loads(
            _plain(text),
            strict=False,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_distinct,
        )
    except json.JSONDecodeError as error:
        near = error.doc[max(0, error.pos - _CONTEXT) : error.pos + _CONTEXT]
        raise ValueError(f"no valid JSON: {error.msg} near {near!r}") from None


def _plain(text: str) -> str:
    if text.isascii() and "+" not in text:
        return text
    return _ODDITY.sub(lambda match: _INSTEAD.get(match.lastgroup or "", match[0]), text)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"expected finite numbers, got {name}")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"expected finite numbers, got {digits[:_CONTEXT]}")
    return number


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in members if names.count(name) > 1)
        raise ValueError(f"expected each key once, got {twice!r} more than once")
    return members
