"""What the captions of one Atari game are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from llm_wrappers.captions.captioner import Facts

__all__ = ["AtariGame", "Ram", "decimal"]

Ram: TypeAlias = "Sequence[int]"


@dataclass(frozen=True)
class AtariGame:
    """How one game is read from memory and put into words.

    Args:
        rules: What a player has to know.
        meaning: What the facts mean.
        actions: The names of the actions of the minimal set, which `gymnasium.make` gives; empty
            for the names of the joystick.
        facts: From the memory, and that of the step before or None, to facts.
        sentence: From facts to a caption.
    """

    rules: str
    meaning: str
    actions: tuple[str, ...]
    facts: Callable[[Ram, Ram | None], Facts]
    sentence: Callable[[Facts], str]


def decimal(*bytes_: int) -> int:
    """Return a number that is kept as two decimal digits in each byte, the highest first.

    >>> decimal(0x19, 0x55)
    1955
    """
    number = 0
    for byte in bytes_:
        number = number * 100 + (byte >> 4) * 10 + (byte & 15)
    return number
