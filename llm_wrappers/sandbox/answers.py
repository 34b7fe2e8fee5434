"""What goes to planner code and what comes back: facts, answers and failures as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from llm_wrappers.checks import is_weight
from llm_wrappers.errors import GuidanceError, InvalidOptionError

__all__ = [
    "MOST_GOALS_CONTAINED",
    "PlannerFailure",
    "a_type",
    "checked_answer",
    "one_line",
    "plain_facts",
    "with_article",
]

_LONGEST_MESSAGE = 300


class PlannerFailure(GuidanceError):
    """One state for which planner code gave no usable answer.

    A runtime returns it in the place of the answer, so that the other states of the batch keep
    theirs. It holds text and numbers alone, never a value or an exception of the planner.

    Args:
        kind: ``"raised"``, ``"timeout"``, ``"memory"``, ``"crashed"``, ``"answer"``,
            ``"load"`` or ``"given up"``.
        message: What happened; cut and cleaned, because planner code may have written it.
        line: The line of the planner, where one is known.

    >>> print(PlannerFailure("raised", "KeyError: 'wood'", line=7))
    KeyError: 'wood' (line 7 of the planner)
    """

    def __init__(self, kind: str, message: str, *, line: int | None = None) -> None:
        self.kind = kind
        self.message = one_line(message, most=_LONGEST_MESSAGE)
        self.line = line
        where = "" if line is None else f" (line {line} of the planner)"
        super().__init__(self.message + where)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.kind, self.message, self.line)


def one_line(text: str, *, most: int) -> str:
    r"""Return a text on one line of visible ASCII characters, cut to a length.

    >>> one_line("a\n\x1b[31mb", most=20)
    'a ?[31mb'
    >>> one_line("abcdefgh", most=6)
    'abc...'
    """
    # Cut first: cleaning a text of 50 million characters would take seconds.
    words = text[: most + 1].split()
    shown = "".join(c if " " <= c <= "~" else "?" for c in " ".join(words))
    return shown if len(shown) <= most and len(text) <= most else shown[: most - 3] + "..."


def _restored(kind: str, message: str, line: int | None) -> PlannerFailure:
    return PlannerFailure(kind, message, line=line)


# Our choices: many times what a planner needs, and small enough to be looked at one by one.
MOST_GOALS_CONTAINED = 64
LONGEST_GOAL = 200


def checked_answer(answer: Any) -> list[tuple[str, float]]:
    """Return what a planner answered as fresh (goal, weight) pairs, or say what is wrong with it.

    Only exact built-in types pass, so that no method of the answer is called: printing, comparing
    or hashing a value that nobody has checked can hang or run code. Whether the goals are known is
    not looked at here.

    Args:
        answer: What `generate` returned.

    Raises:
        GuidanceError: If it is no list of at most 64 pairs of a text of at most 200 characters
            and a weight that is finite and >= 0.

    >>> checked_answer([["eat cow", 2]])
    [('eat cow', 2)]
    >>> checked_answer([("eat cow", True)])
    Traceback (most recent call last):
        ...
    llm_wrappers.errors.GuidanceError: expected a weight that is an int or a float, got a bool
    """
    if type(answer) is not list and type(answer) is not tuple:
        raise GuidanceError(f"expected a list of (goal, weight) pairs, got {a_type(answer)}")
    if len(answer) > MOST_GOALS_CONTAINED:
        raise GuidanceError(f"expected at most {MOST_GOALS_CONTAINED} goals, got {len(answer)}")
    return [_checked_pair(entry) for entry in answer]


def type_name(value: Any) -> str:
    """Return the name of a value's type without a method of the value or of its type."""
    name: str = type.__dict__["__name__"].__get__(type(value))
    return one_line(name, most=60)


def a_type(value: Any) -> str:
    """Return the name of a value's type behind its article."""
    return with_article(type_name(value))


def with_article(name: str) -> str:
    """Return a name behind its article.

    >>> with_article("int"), with_article("set")
    ('an int', 'a set')
    """
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _checked_pair(entry: Any) -> tuple[str, float]:
    if (type(entry) is not list and type(entry) is not tuple) or len(entry) != 2:
        raise GuidanceError(f"expected (goal, weight) pairs, got {_described(entry)} among them")
    text, weight = entry
    if type(text) is not str:
        raise GuidanceError(f"expected a goal that is a str, got {a_type(text)}")
    if len(text) > LONGEST_GOAL:
        raise GuidanceError(
            f"expected a goal of at most {LONGEST_GOAL} characters, got {len(text)}"
        )
    if type(weight) is not int and type(weight) is not float:
        raise GuidanceError(f"expected a weight that is an int or a float, got {a_type(weight)}")
    if not is_weight(weight):
        raise GuidanceError("expected weights that are finite and >= 0")
    return text, weight


def _described(entry: Any) -> str:
    if type(entry) is list or type(entry) is tuple:
        return f"{a_type(entry)} of {len(entry)}"
    return a_type(entry)


_SCALARS = frozenset({bool, int, float, str, type(None)})


def plain_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fresh dict of plain Python values; numpy scalars become their Python values.

    Raises:
        InvalidOptionError: If a fact is something else, such as an array.

    >>> import numpy as np
    >>> plain_facts({"wood": np.int64(3), "unlocked": ("eat_cow",)})
    {'wood': 3, 'unlocked': ('eat_cow',)}
    """
    return {
        str(name): value if type(value) in _SCALARS else _plain(name, value)
        for name, value in facts.items()
    }


def _plain(name: str, value: Any) -> Any:
    if type(value) in _SCALARS:
        return value
    if isinstance(value, np.generic):
        return _plain(name, value.item())
    if type(value) is tuple:
        return tuple(_plain(name, item) for item in value)
    if type(value) is list:
        return [_plain(name, item) for item in value]
    if type(value) is dict:
        return {_plain(name, key): _plain(name, item) for key, item in value.items()}
    raise InvalidOptionError(
        f"facts for planner code must be numbers, texts, None, or lists, tuples and dicts of "
        f"these; the fact {name!r} is a {type(value).__name__}"
    )
