"""Options that the selector and the corrector check alike, and blanks they fill alike."""

from __future__ import annotations

from typing import Any

from llm_wrappers.errors import InvalidOptionError

__all__ = ["instructions_block", "whole_number"]


def whole_number(name: str, value: Any, *, least: int) -> int:
    """Return an option that is a whole number.

    Raises:
        InvalidOptionError: If it is none, or too small.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidOptionError(f"{name} must be a whole number >= {least}, got {value!r}")
    return value


def instructions_block(instructions: Any) -> str:
    """Return the part of a prompt that says what matters in this environment, may be nothing.

    Raises:
        InvalidOptionError: If it is no text.
    """
    if not isinstance(instructions, str):
        raise InvalidOptionError(
            "instructions must be a text about what matters in this environment, got "
            f"{instructions!r}"
        )
    text = instructions.strip()
    return f"What matters here: {text}\n\n" if text else ""
