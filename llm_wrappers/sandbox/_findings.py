"""Collecting what is wrong with a planner, each thing once."""

from __future__ import annotations

from typing import Any

from llm_wrappers.sandbox.failure import PlannerFailure, one_line
from llm_wrappers.sandbox.report import KINDS, Finding

__all__ = ["Findings"]

_LONGEST_MESSAGE = 400
_MOST_FINDINGS = 60


class Findings:
    """Findings, counted where the same was found before."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int | None, str], Finding] = {}

    def add(
        self,
        kind: str,
        message: str,
        *,
        line: int | None = None,
        state: dict[str, Any] | None = None,
        same: str | None = None,
    ) -> None:
        """Add what was found, or count it where it was found before.

        Args:
            kind: What is wrong.
            message: What happened; may hold what planner code wrote.
            line: The line of the planner.
            state: The facts.
            same: What makes it the same finding, where that is not the message.
        """
        message = one_line(message, most=_LONGEST_MESSAGE)
        key = (kind, line, message if same is None else same)
        if key in self._found:
            earlier = self._found[key]
            self._found[key] = earlier.model_copy(update={"times": earlier.times + 1})
        else:
            self._found[key] = Finding(kind=kind, message=message, line=line, state=state)

    def add_failure(self, failure: PlannerFailure, state: dict[str, Any]) -> None:
        """Add that one state got no answer."""
        self.add(failure.kind, failure.message, line=failure.line, state=state)

    def kinds(self) -> set[str]:
        """Return the kinds of what was found."""
        return {finding.kind for finding in self._found.values()}

    def sorted(self) -> tuple[Finding, ...]:
        """Return the findings, the most informative first; not more than anybody reads."""
        order = {kind: position for position, kind in enumerate(KINDS)}
        found = sorted(
            self._found.values(), key=lambda finding: (order[finding.kind], -finding.times)
        )
        return tuple(found[:_MOST_FINDINGS])
