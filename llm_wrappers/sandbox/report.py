"""What the validation of a planner found."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = ["KINDS", "Finding", "ValidationReport"]

KINDS: dict[str, str] = {
    "lint": "The code uses what is not available",
    "load": "The code cannot be loaded",
    "crashed": "The code brings down its interpreter",
    "memory": "The code uses too much memory",
    "timeout": "The code does not end in time",
    "raised": "The code raises an exception",
    "given up": "The code fails in state after state",
    "answer": "The answer has not the form of a list of (goal, weight) pairs",
    "unknown goal": "The answer has goals that do not exist",
    "unknown fact": "READS names facts that do not exist",
    "undeclared read": "The code reads facts that READS does not name",
    "mutated": "The code changes the facts it is given",
    "unstable": "The same facts get different answers",
    "no goal": "The answer has no goal",
    "slow": "The code is slow",
}
"""Kind of a finding -> what it means; the most informative first."""

_EXAMPLES_PER_KIND = 3
_LONGEST_STATE = 400
_LEFT_OUT = "\n(more is left out)"


class Finding(BaseModel):
    """One thing that is wrong with a planner.

    Args:
        kind: What, such as ``"raised"``; the same as of `PlannerFailure`, and some more.
        message: What happened, on one line of ASCII text.
        line: The line of the planner, where one is known.
        state: The facts for which it happened, where it was at one state.
        times: In how many states the same happened.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    message: str
    line: int | None = None
    state: dict[str, Any] | None = None
    times: int = 1


class ValidationReport(BaseModel):
    """What `validate_planner` found.

    Args:
        sha256: The hash of the source.
        library_version: The version of this package.
        when: The time, in UTC.
        recorded_states: How many of the given states were tried.
        extreme_states: How many made-up states were tried.
        findings: What is wrong, the most informative first; each kind, line and message once.
        coverage: The share of the goals that were proposed in any state.
        never_proposed: The other goals.
        share_without_goal: The share of the states with no known goal of positive weight.
        median_milliseconds: The time of one call for one state, with the way to Monty and back.
        slowest_milliseconds: The longest of these.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str
    library_version: str
    when: datetime
    recorded_states: int
    extreme_states: int
    findings: tuple[Finding, ...] = ()
    coverage: float = 0.0
    never_proposed: tuple[str, ...] = ()
    share_without_goal: float = 0.0
    median_milliseconds: float = 0.0
    slowest_milliseconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def for_model(self, *, most: int = 4000) -> str:
        """Return what is wrong as a text for the language model that wrote the planner.

        Args:
            most: The longest text, in characters; what matters least is left out.
        """
        parts = [part for kind, title in KINDS.items() for part in self._parts(kind, title)]
        if not parts:
            parts = [f"The code is valid in {self.recorded_states + self.extreme_states} states."]
        if self.never_proposed and self.coverage > 0:
            never = ", ".join(self.never_proposed)
            parts.append(f"\nGoals that were never proposed in any state: {never}.")
        text = "\n".join(parts).strip("\n")
        if len(text) <= most:
            return text
        # Whole lines, where there is room for one.
        cut = text[: max(most - len(_LEFT_OUT), 0)]
        return ((cut.rpartition("\n")[0] or cut) + _LEFT_OUT)[:most]

    def _parts(self, kind: str, title: str) -> list[str]:
        found = [finding for finding in self.findings if finding.kind == kind]
        shown = found if kind == "lint" else found[:_EXAMPLES_PER_KIND]
        parts = [_described(finding) for finding in shown]
        if len(found) > len(shown):
            parts.append(f"- and {len(found) - len(shown)} more of this kind")
        return [f"\n{title}:\n{parts[0]}", *parts[1:]] if parts else []


def _described(finding: Finding) -> str:
    where = "" if finding.line is None else f"line {finding.line}: "
    times = f" (in {finding.times} states)" if finding.times > 1 else ""
    return f"- {where}{finding.message}{times}{_shown(finding.state)}"


def _shown(state: dict[str, Any] | None) -> str:
    """Return a state on a line, without the many facts that say nothing."""
    if state is None:
        return ""
    telling = {name: value for name, value in state.items() if value}
    text = json.dumps(telling)
    if len(text) > _LONGEST_STATE:
        text = text[:_LONGEST_STATE] + " ..."
    rest = "; all other facts are 0, false, null or empty" if len(telling) < len(state) else ""
    return f"\n  with facts = {text}{rest}"
