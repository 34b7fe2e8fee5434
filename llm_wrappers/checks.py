"""What an option must be, said once: expected, got.

Each function returns the value it was given, or raises `InvalidOptionError`. A bool is no number
here, although Python takes it for one: ``scale=True`` is a slip and not a 1.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, TypeGuard

import numpy as np

from llm_wrappers.errors import InvalidOptionError

__all__ = [
    "flag",
    "is_number",
    "is_weight",
    "is_whole",
    "key",
    "number",
    "one_of",
    "text",
    "texts",
    "vocabulary",
    "whole",
]


def is_whole(value: Any) -> TypeGuard[int]:
    """Return whether a value is a whole number, one of numpy's included.

    >>> is_whole(3), is_whole(np.int64(3)), is_whole(True), is_whole(3.0)
    (True, True, False, False)
    """
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a real number that is finite, one of numpy's included.

    >>> is_number(0.5), is_number(np.float32(0.5)), is_number(True), is_number(math.nan)
    (True, True, False, False)
    """
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # A whole number that is larger than any float.
        return False


def is_weight(value: object) -> bool:
    """Return whether this is a number that can be a weight: finite, >= 0 and a float's size.

    >>> is_weight(2), is_weight(np.float32(0.5)), is_weight(float("nan")), is_weight(10**400)
    (True, True, False, False)
    """
    if isinstance(value, np.integer | np.floating):
        value = float(value)
    # An int too large for a float cannot be given to math.isfinite; it can be compared.
    return isinstance(value, int | float) and 0 <= value <= sys.float_info.max


def whole(
    name: str, value: Any, *, least: int, most: int | None = None, or_none: str | None = None
) -> Any:
    """Return an option that is a whole number.

    Args:
        name: Of the option.
        value: What was given.
        least: The smallest that is allowed.
        most: The largest; None for no limit.
        or_none: What None means, where it is allowed, as in ``"to keep all"``.

    Raises:
        InvalidOptionError: If it is none, or outside.

    >>> whole("every", 3, least=1)
    3
    >>> whole("every", 0, least=1)
    Traceback (most recent call last):
        ...
    llm_wrappers.errors.InvalidOptionError: every must be a whole number >= 1, got 0
    """
    if value is None and or_none is not None:
        return None
    if is_whole(value) and value >= least and (most is None or value <= most):
        return int(value)
    limit = f">= {least}" if most is None else f"in {least}..{most}"
    instead = "" if or_none is None else f", or None {or_none}"
    raise InvalidOptionError(f"{name} must be a whole number {limit}{instead}, got {value!r}")


def number(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float | None = None,
) -> float:
    """Return an option that is a finite number.

    Args:
        name: Of the option.
        value: What was given.
        least: The smallest that is allowed.
        most: The largest.
        above: What it must be larger than, in place of `least`.

    Raises:
        InvalidOptionError: If it is none, or outside.

    >>> number("scale", 2, least=0)
    2.0
    >>> number("threshold", 3, least=-1, most=1)
    Traceback (most recent call last):
        ...
    llm_wrappers.errors.InvalidOptionError: threshold must be a number in [-1, 1], got 3
    """
    inside = is_number(value) and least <= value <= most and (above is None or value > above)
    if inside:
        return float(value)
    if above is not None:
        limit = f"a finite number > {above:g}" + ("" if most == math.inf else f", at most {most:g}")
    elif most < math.inf:
        limit = f"a number in [{least:g}, {most:g}]"
    else:
        limit = "a finite number" + ("" if least == -math.inf else f" >= {least:g}")
    raise InvalidOptionError(f"{name} must be {limit}, got {value!r}")


def flag(name: str, value: Any) -> bool:
    """Return an option that is a switch.

    Raises:
        InvalidOptionError: If it is neither True nor False.

    >>> flag("training", 1)
    Traceback (most recent call last):
        ...
    llm_wrappers.errors.InvalidOptionError: training must be True or False, got 1
    """
    if isinstance(value, bool):
        return value
    raise InvalidOptionError(f"{name} must be True or False, got {value!r}")


def one_of(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return an option that is one of a few.

    Raises:
        InvalidOptionError: If it is none of them.

    >>> one_of("mode", "r", ("RA", "A", "R"))
    Traceback (most recent call last):
        ...
    llm_wrappers.errors.InvalidOptionError: mode must be one of ('RA', 'A', 'R'), got 'r'
    """
    # Compared and not looked up: what was given need not be hashable, and True is not 1 here.
    if any(type(value) is type(choice) and value == choice for choice in choices):
        return value
    raise InvalidOptionError(f"{name} must be one of {tuple(choices)}, got {value!r}")


def text(name: str, value: Any) -> str:
    """Return an option that is a text with something in it.

    Raises:
        InvalidOptionError: If it is none, or empty.

    >>> text("key", "")
    Traceback (most recent call last):
        ...
    llm_wrappers.errors.InvalidOptionError: key must be a non-empty string, got ''
    """
    if isinstance(value, str) and value:
        return value
    raise InvalidOptionError(f"{name} must be a non-empty string, got {value!r}")


def texts(name: str, value: Any) -> tuple[str, ...]:
    """Return an option that is a list of texts, each with something in it.

    Raises:
        InvalidOptionError: If it is a text itself, or one of them is none.

    >>> texts("goals", ["go left", "go right"])
    ('go left', 'go right')
    """
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    if listed and all(isinstance(each, str) and each for each in value):
        return tuple(value)
    raise InvalidOptionError(f"{name} must be a list of non-empty strings, got {value!r}")


def vocabulary(goals: Any) -> tuple[str, ...]:
    """Return the goal vocabulary, or say what is wrong with it.

    Raises:
        InvalidOptionError: If it is empty, repeats a goal or holds something that is no text.
    """
    if isinstance(goals, str) or not all(isinstance(goal, str) and goal for goal in goals):
        raise InvalidOptionError(f"goals must be a list of non-empty strings, got {goals!r}")
    if not goals:
        raise InvalidOptionError(
            'this environment describes no goals: pass them, as in goals=["go left", "go right"]'
        )
    if len(set(goals)) != len(goals):
        raise InvalidOptionError(f"goals must not repeat, got {list(goals)!r}")
    return tuple(goals)


def key(name: str, value: Any, taken: Mapping[str, Any]) -> str:
    """Return an option that names a new entry of a Dict observation.

    Args:
        name: Of the option.
        value: What was given.
        taken: The entries that are there already.

    Raises:
        InvalidOptionError: If it is no text, or taken.
    """
    if text(name, value) in taken:
        raise InvalidOptionError(
            f"the observation already has the key {value!r} (keys: {sorted(taken)}); choose "
            f"another with {name}=..."
        )
    return str(value)
