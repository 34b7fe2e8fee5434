"""How often two judges agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.guidance.judge import Judge
from llm_wrappers.guidance.judging import Judging

__all__ = ["Agreement"]


class Agreement:
    """Compares judgements with those of a second judge on the same states and actions.

    Args:
        judge: The second judge.
        captioner: Puts the states into words.
    """

    def __init__(self, judge: Judge, captioner: Captioner) -> None:
        self._judging = Judging(judge, caption=captioner.state_captions)
        self.counts = {"compared": 0, "agreed": 0, "opposed": 0}

    def compare(
        self,
        facts: Sequence[Facts],
        actions: Sequence[Any],
        judgements: Sequence[int | None],
    ) -> None:
        """Count where both have a judgement, where these are equal and where opposite."""
        rows = [row for row, value in enumerate(judgements) if value is not None]
        others = self._judging.judgements(facts, actions, rows)
        for row, other in zip(rows, others, strict=True):
            mine = judgements[row]
            if other is None or mine is None:
                continue
            self.counts["compared"] += 1
            self.counts["agreed"] += mine == other
            self.counts["opposed"] += mine * other < 0

    def report(self) -> dict[str, float | int | None]:
        """Return the counts and the share of agreement, None where nothing was compared."""
        compared = self.counts["compared"]
        share = self.counts["agreed"] / compared if compared else None
        return {**self.counts, "agreement": share}
