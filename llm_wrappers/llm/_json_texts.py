"""Finding the JSON values in what a model says, in one pass over the text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["MAX_DEPTH", "JsonText", "json_texts", "without_reasoning"]

MAX_DEPTH = 100
"""The deepest nesting that is read (our choice)."""

_REASONING = re.compile(
    r"^[ \t\ufeff\u00a0]*<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.MULTILINE
)
# Some chat templates swallow the opening tag. JSON has no line break inside a string, so a tag at
# the border of a line is no part of an answer.
_END_OF_REASONING = re.compile(r"^[ \t]*</think(?:ing)?>|</think(?:ing)?>[ \t]*$", re.MULTILINE)
# A pair of quotes without a bracket between them changes nothing: the group is the rest.
_TOKEN = re.compile(
    r'"[^"\\\[\]{}\n]*"|\\.|(["\[\]{}]|^[ \t]*(?:```|~~~))', re.DOTALL | re.MULTILINE
)
_SCALAR = r"(?:[-+\u2212]?(?:\d+(?:\.\d+)?(?:[eE][-+\u2212]?\d+)?|Infinity)|true|false|null|NaN)"
_KEY = r"""(?:"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*')"""
# A key may lack a quote, or both: that is a broken answer, not prose.
_ROUGH_KEY = rf"""(?:{_KEY}|["']?\w+["']?)"""
_COMMENT = r"//|/\*"
_BEGINS_JSON = re.compile(
    rf"\{{\s*(?:{_ROUGH_KEY}\s*:|{_COMMENT})"
    rf"|\[\s*(?:{_SCALAR}\s*,\s*)*(?:[\"\[{{\]]|{_COMMENT}|{_SCALAR}\s*\])",
    re.DOTALL,
)
_HAS_KEY = re.compile(rf"(?:\[\s*)?\{{\s*{_KEY}\s*:", re.DOTALL)
_BRACE_IN_BRACE = re.compile(r"\{\s*[\[{]")
_OPENING = {"}": "{", "]": "["}


@dataclass(frozen=True)
class JsonText:
    """A part of a text that stands in brackets and may be JSON."""

    text: str
    closed: bool
    has_key: bool
    depth: int


def without_reasoning(text: str) -> str:
    """Return a text without what the model thought before it answered."""
    if "think>" not in text:
        return text
    text = _REASONING.sub("", text)
    end = 0
    for match in _END_OF_REASONING.finditer(text):
        end = match.end()
    return text[end:]


def json_texts(text: str, *, most: int = 100) -> list[JsonText]:
    """Return the outermost bracketed parts of a text that may be JSON, in their order.

    What is inside of braces is not looked at, and neither is what is inside of a list: a piece of
    a broken answer is not the answer. Square brackets around something else are prose, and so is a
    brace that is never closed, unless JSON follows it: then it hides the rest of its code block,
    which may be inside of it.
    """
    brackets, fences = _brackets(text)
    return [
        JsonText(
            text[bracket.start : end],
            closed=bracket.end is not None,
            has_key=_HAS_KEY.match(text, bracket.start) is not None,
            depth=bracket.height,
        )
        for bracket, end in deque(_outermost(text, brackets, fences), maxlen=most)
    ]


class _Bracket:
    __slots__ = ("end", "height", "kind", "start")

    def __init__(self, kind: str, start: int) -> None:
        self.kind = kind
        self.start = start
        self.end: int | None = None
        self.height = 1


class _OpenBrackets:
    """The brackets that are open at some place."""

    def __init__(self) -> None:
        self._open: list[_Bracket] = []
        self._counts = {"{": 0, "[": 0}

    def push(self, bracket: _Bracket) -> None:
        self._open.append(bracket)
        self._counts[bracket.kind] += 1

    def close(self, kind: str, end: int) -> None:
        """Close the innermost bracket of a kind; those inside of it stay without a partner."""
        if not self._counts[kind]:
            return
        inner_height = 0
        while True:
            bracket = self._open.pop()
            self._counts[bracket.kind] -= 1
            bracket.height = inner_height = max(bracket.height, inner_height + 1)
            if bracket.kind == kind:
                break
        bracket.end = end
        if self._open:
            self._open[-1].height = max(self._open[-1].height, inner_height + 1)


def _brackets(text: str) -> tuple[list[_Bracket], list[int]]:
    """Return all brackets with their partners, and where code blocks begin or end.

    Prose has stray quotes, so it is unknown which quotes open a string. There are two readings
    only, and each bracket is outside of strings in one of them: a bracket and its partner have an
    even number of quotes between them.
    """
    brackets: list[_Bracket] = []
    fences: list[int] = []
    readings = (_OpenBrackets(), _OpenBrackets())
    reading = 0
    for match in _TOKEN.finditer(text):
        token = match[1]
        if token is None:
            continue
        if token == '"':
            reading = 1 - reading
        elif token in "{[":
            bracket = _Bracket(token, match.start())
            brackets.append(bracket)
            readings[reading].push(bracket)
        elif token in "}]":
            readings[reading].close(_OPENING[token], match.end())
        else:
            fences.append(match.start())
            readings = (_OpenBrackets(), _OpenBrackets())
    return brackets, fences


def _outermost(
    text: str, brackets: list[_Bracket], fences: list[int]
) -> Iterator[tuple[_Bracket, int]]:
    position = 0
    for bracket in brackets:
        if bracket.start < position:
            continue
        may_be_prose = bracket.end is None or bracket.kind == "["
        is_prose = may_be_prose and not _BEGINS_JSON.match(text, bracket.start)
        # Some double their braces, as templates want it.
        if is_prose or _BRACE_IN_BRACE.match(text, bracket.start):
            continue
        position = bracket.end or _next(fences, bracket.start, len(text))
        yield bracket, position


def _next(places: list[int], after: int, otherwise: int) -> int:
    index = bisect_right(places, after)
    return places[index] if index < len(places) else otherwise
