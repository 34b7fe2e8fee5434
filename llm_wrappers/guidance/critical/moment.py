"""One step of a played episode that decided much of what came after (ULTRA)."""

from __future__ import annotations

from dataclasses import dataclass

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError

__all__ = ["CriticalMoment"]


@dataclass(frozen=True)
class CriticalMoment:
    """A step that a selector picked from played episodes (ULTRA, arXiv 2505.20671).

    ULTRA calls a state critical if the action taken there strongly affects what can still be
    earned.

    Args:
        episode: Which of the episodes, from 0.
        step: Which of its steps, from 0: the state before its action is the critical one. Numbers
            of numpy are taken too, and become plain ones.
        importance: How much the selector makes of it, a finite number; only comparable within one
            selector.
        rationale: Why, in words.

    Raises:
        InvalidOptionError: If a number is not what is documented.

    >>> CriticalMoment(0, 12, rationale="the ball comes towards you").step
    12
    """

    episode: int
    step: int
    importance: float = 1.0
    rationale: str = ""

    def __post_init__(self) -> None:
        for name in ("episode", "step"):
            object.__setattr__(self, name, checks.whole(name, getattr(self, name), least=0))
        object.__setattr__(self, "importance", checks.number("importance", self.importance))
        if not isinstance(self.rationale, str):
            raise InvalidOptionError(f"rationale must be a text, got {self.rationale!r}")
