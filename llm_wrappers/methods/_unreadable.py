"""Answers that cannot be read: counted, and said once."""

from __future__ import annotations

import warnings

from llm_wrappers.errors import GuidanceWarning

__all__ = ["Unreadable"]

_LONGEST = 80


class Unreadable:
    """Counts answers that cannot be read and warns of the first.

    Args:
        expected: What an answer should have been, for the warning.
        taken_as: What is done with such answers, for the warning.
    """

    def __init__(self, expected: str, *, taken_as: str) -> None:
        self.count = 0
        self._expected = expected
        self._taken_as = taken_as

    def note(self, answer: str) -> None:
        """Count an answer."""
        self.count += 1
        if self.count == 1:
            # What matters stands at the end of an answer that reasons first.
            shown = answer if len(answer) <= _LONGEST else "…" + answer[1 - _LONGEST :]
            warnings.warn(
                f"expected an answer of the model {self._expected}, got {shown!r}; such answers "
                f"are {self._taken_as}, not asked for again, and counted in stats(); said once",
                GuidanceWarning,
                stacklevel=2,
            )

    def added_to(self, stats: dict[str, float]) -> dict[str, float]:
        """Return the counters of a live source with those answers among the failures."""
        added = {name: stats[name] + self.count for name in ("failures", "failures_parse")}
        return {**stats, **added}
