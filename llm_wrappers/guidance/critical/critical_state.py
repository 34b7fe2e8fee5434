"""One state in which the action matters, and what to do in it (ULTRA)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError

__all__ = ["CriticalState"]


@dataclass(frozen=True, eq=False)
class CriticalState:
    """A state whose action decides much of what can still be earned, with advice (ULTRA).

    ULTRA (arXiv 2505.20671) has a language model pick such states from played episodes, name the
    appropriate action, and rate the step with a number r in [-1, 1].

    Args:
        state: The observation, an array or a number; of a Dict observation, the one part that
            tells states apart.
        action: The advised action, as the action space has it.
        reward: r, a finite number; a table clips it to [-1, 1].
        rationale: Why the state is critical, in words.
        episode: In which of the played episodes it was found, from 0; None where unknown.
        step: In which step of that episode, from 0; None where unknown.

    Raises:
        InvalidOptionError: If a number is not what is documented.

    >>> CriticalState([0.1, -0.2], 1, reward=0.5, rationale="the pole falls right").action
    1
    """

    state: Any
    action: Any
    reward: float = 1.0
    rationale: str = ""
    episode: int | None = None
    step: int | None = None

    def __post_init__(self) -> None:
        # A table clips what lies outside.
        if not checks.is_number(self.reward):
            raise InvalidOptionError(
                f"the reward of a critical state must be a number in [-1, 1], got {self.reward!r}"
            )
        object.__setattr__(self, "reward", float(self.reward))
        if not isinstance(self.rationale, str):
            raise InvalidOptionError(f"rationale must be a text, got {self.rationale!r}")
        for name in ("episode", "step"):
            value = checks.whole(name, getattr(self, name), least=0, or_none="where unknown")
            object.__setattr__(self, name, value)
