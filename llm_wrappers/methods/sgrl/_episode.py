"""One recorded episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Facts

__all__ = ["Episode"]


@dataclass(frozen=True)
class Episode:
    """What was met and done in one episode.

    Args:
        facts: The facts of its t + 1 states.
        actions: The t actions between them.
        legal: What the environment's own `action_masks` said before each action, shape
            (t, actions); None where it has none.
        guided: Whether guidance chose what was open.
    """

    facts: Sequence[Facts]
    actions: Sequence[Any]
    legal: NDArray[Any] | None = None
    guided: bool = False
