"""The form of one state's answer, checked without running anything of the answer itself."""

from __future__ import annotations

from typing import Any

from llm_wrappers.errors import GuidanceError
from llm_wrappers.guidance.goal import is_weight
from llm_wrappers.sandbox.failure import one_line

__all__ = ["MOST_GOALS", "checked_answer"]

# Our choices: many times what a planner needs, and small enough to be looked at one by one.
MOST_GOALS = 64
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
    if len(answer) > MOST_GOALS:
        raise GuidanceError(f"expected at most {MOST_GOALS} goals, got {len(answer)}")
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
