"""Blanks that the selector and the corrector fill alike."""

from __future__ import annotations

from typing import Any

from llm_wrappers.errors import InvalidOptionError

__all__ = ["instructions_block"]


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
