"""What came of having critical states found and corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm_wrappers.guidance.critical.finding import CriticalMoment
from llm_wrappers.guidance.critical.table import CriticalStates
from llm_wrappers.llm.usage import Usage

__all__ = ["UltraReport"]


@dataclass(frozen=True)
class UltraReport:
    """The table of critical states that was written, and how it came about.

    Args:
        critical_states: The table, with its provenance.
        moments: What the selector returned.
        episodes: How many episodes were looked at.
        steps: How many steps they have.
        corrected: How many moments have advice.
        selector_stats: The counters of this run of the selector, {} if it has none.
        corrector_stats: Those of the corrector.
        usage: What language models used in this run.
        complete: False if questions to a model have no answer; asked again, they may have.
    """

    critical_states: CriticalStates
    moments: Sequence[CriticalMoment]
    episodes: int
    steps: int
    corrected: int
    selector_stats: Mapping[str, Any]
    corrector_stats: Mapping[str, Any]
    usage: Usage
    complete: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain data for JSON, the table left out."""
        return {
            "episodes": self.episodes,
            "steps": self.steps,
            "selected": len(self.moments),
            "corrected": self.corrected,
            "keys": len(self.critical_states),
            "conflicts": self.critical_states.counts["conflicts"],
            "complete": self.complete,
            "selector": dict(self.selector_stats),
            "corrector": dict(self.corrector_stats),
            "usage": self.usage.as_dict(),
        }

    def __str__(self) -> str:
        total = self.usage.total
        price = f"${total.dollars:.4g}" + (", not all prices known" * bool(total.unpriced_calls))
        rows = [
            ("episodes", f"{self.episodes} of {self.steps} steps altogether"),
            ("selected", f"{len(self.moments)} moments{_others(self.selector_stats)}"),
            ("corrected", f"{self.corrected} of them{_others(self.corrector_stats)}"),
            ("table", f"{len(self.critical_states)} keys, {self._conflicts()} with conflicts"),
            ("requests", f"{total.calls}, answers from the cache: {total.cache_hits}"),
            ("tokens", f"{total.prompt_tokens} asked, {total.completion_tokens} answered"),
            ("price", price),
            ("complete", "yes" if self.complete else "no: run it again to ask for the rest"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:{width}}  {value}" for name, value in rows)

    def _conflicts(self) -> int:
        return self.critical_states.counts["conflicts"]


_SAID_ELSEWHERE = ("questions", "moments", "selected", "corrected")


def _others(stats: Mapping[str, Any]) -> str:
    said = [
        f"{name.replace('_', ' ')} {count}"
        for name, count in stats.items()
        if isinstance(count, int) and count and name not in _SAID_ELSEWHERE
    ]
    return f" ({', '.join(said)})" if said else ""
