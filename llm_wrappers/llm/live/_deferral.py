"""Texts that are not worth another try for some seconds."""

from __future__ import annotations

import time
from collections.abc import Iterable

from llm_wrappers.llm.live._texts import RecentTexts

__all__ = ["Deferral"]


class Deferral:
    """Remembers until when a text has to wait.

    Args:
        most: How many texts it remembers; beyond it, the one put off first may try again.

    >>> waiting = Deferral(most=100)
    >>> waiting.put_off("a", seconds=60)
    >>> waiting.ready(["a", "b"])
    ['b']
    """

    def __init__(self, *, most: int) -> None:
        self._until: RecentTexts[float] = RecentTexts(most=most)

    def put_off(self, text: str, *, seconds: float) -> None:
        """Make a text wait from now on."""
        self._until.put(text, time.monotonic() + seconds)

    def ready(self, texts: Iterable[str]) -> list[str]:
        """Return the texts that need not wait."""
        now = time.monotonic()
        return [text for text in texts if self._until.get(text, now) <= now]

    def forget(self, text: str) -> None:
        """Let a text try again at once."""
        self._until.discard(text)
