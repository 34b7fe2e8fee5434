"""Trying a planner before anything depends on it."""

from __future__ import annotations

import difflib
import hashlib
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from llm_wrappers import checks
from llm_wrappers._version import __version__
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.planning import checked_vocabulary
from llm_wrappers.sandbox._findings import Findings
from llm_wrappers.sandbox._trials import (
    Asked,
    ask_again,
    ask_each,
    ask_only_reads,
    ask_turned,
)
from llm_wrappers.sandbox.lint import lint_planner
from llm_wrappers.sandbox.report import ValidationReport
from llm_wrappers.sandbox.source import declared_reads, parsed
from llm_wrappers.sandbox.states import distinct_states, extreme_states

__all__ = ["validate_planner"]

_MOST_UNKNOWN = 20


def validate_planner(
    source: str,
    states: Sequence[Mapping[str, Any]],
    *,
    goals: Sequence[str],
    may_be_empty: bool = False,
    most_states: int = 300,
    most_milliseconds: float = 20.0,
) -> ValidationReport:
    """Return what is wrong with a planner's source, found by reading it and by trying it.

    The source is never run in this process. It is read (`lint_planner`) and then asked about
    recorded and made-up states (`extreme_states`) in Monty. It must answer every state in time and
    in the right form, with goals that exist; the same whatever was asked before, whatever the
    clock, the random seed and the order of sets; without changing its facts, and from no other
    facts than its `READS` name.

    Args:
        source: The Python source.
        states: Recorded states, the more different the better; facts as the planner is given.
        goals: The goal vocabulary.
        may_be_empty: Whether no goal at all is an answer.
        most_states: How many of the recorded states are tried; they are taken evenly.
        most_milliseconds: What one call may take, with the way to Monty and back.

    Raises:
        InvalidOptionError: If there are no states, or an option has no sense.
        DependencyNotInstalled: If Monty is not installed.

    >>> source = '''
    ... class OptimizedGoalGenerator:
    ...     def generate(self, facts):
    ...         return [("collect wood", 1 / facts["wood"])]
    ... '''
    >>> report = validate_planner(source, [{"wood": 3}], goals=["collect wood", "eat cow"])
    >>> print(report.ok, report.findings[0].line, report.findings[0].message)
    False 4 ZeroDivisionError: division by zero
    """
    vocabulary = checked_vocabulary(goals)
    _check_counts(states, most_states, most_milliseconds)
    findings = Findings()
    for problem in lint_planner(source):
        findings.add("lint", problem.message, line=problem.line)
    if findings.kinds():
        return _report(source, findings)
    recorded = _spread(distinct_states(states), most_states)
    extreme = extreme_states(recorded)
    asked = ask_each(source, recorded + extreme, findings, slow_after=most_milliseconds / 1000)
    if asked.answered():
        _try_again(source, asked, recorded, findings)
    positive = [_positive(answer) for _, answer in asked.answered()]
    _check_goals(asked, vocabulary, findings, may_be_empty=may_be_empty)
    proposed = {goal for goals in positive for goal in goals} & set(vocabulary)
    milliseconds = [1000 * seconds for seconds in asked.seconds]
    return _report(
        source,
        findings,
        recorded_states=len(recorded),
        extreme_states=len(extreme),
        coverage=len(proposed) / len(vocabulary),
        never_proposed=tuple(goal for goal in vocabulary if goal not in proposed),
        share_without_goal=_share([not known & set(vocabulary) for known in positive]),
        median_milliseconds=statistics.median(milliseconds),
        slowest_milliseconds=max(milliseconds),
    )


def _try_again(
    source: str, asked: Asked, recorded: list[dict[str, Any]], findings: Findings
) -> None:
    ask_again(source, asked, findings)
    reads = declared_reads(parsed(source))
    missing = [name for name in reads or () if not all(name in state for state in recorded)]
    for name in missing:
        close = difflib.get_close_matches(name, sorted(recorded[0]), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        findings.add("unknown fact", f"not every state has the fact {name!r}{hint}")
    if reads is not None and not missing:
        ask_only_reads(source, reads, asked, findings)
    # Where one of these is found already, it would be found again and called another.
    if not findings.kinds() & {"mutated", "unstable", "undeclared read", "unknown fact", "slow"}:
        ask_turned(source, asked, findings)


def _check_goals(
    asked: Asked, vocabulary: tuple[str, ...], findings: Findings, *, may_be_empty: bool
) -> None:
    unknown: dict[str, str] = {}
    for state, answer in asked.answered():
        for goal in {goal: None for goal, _ in answer if goal not in vocabulary}:
            if goal not in unknown and len(unknown) < _MOST_UNKNOWN:
                unknown[goal] = _unknown_goal(goal, vocabulary)
            message = unknown.get(goal, "there are still other goals that do not exist")
            findings.add("unknown goal", message, state=state)
        if not _positive(answer) & set(vocabulary) and not (may_be_empty and not answer):
            message = "there is no goal with a weight above zero" if answer else "the list is empty"
            findings.add("no goal", message, state=state)


def _unknown_goal(goal: str, vocabulary: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(goal, vocabulary, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{goal!r} is none of the goals{hint}"


def _positive(answer: list[tuple[str, float]]) -> set[str]:
    return {goal for goal, weight in answer if weight > 0}


def _share(flags: list[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0


def _spread(states: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Return at most so many states, taken evenly."""
    if len(states) <= most:
        return states
    return [states[position * len(states) // most] for position in range(most)]


def _check_counts(states: Sequence[Any], most_states: int, most_milliseconds: float) -> None:
    if not len(states):
        raise InvalidOptionError("expected recorded states to try the planner on, got none")
    checks.whole("most_states", most_states, least=1)
    if not most_milliseconds > 0:
        raise InvalidOptionError(f"most_milliseconds must be > 0, got {most_milliseconds!r}")


def _report(source: str, findings: Findings, **found: Any) -> ValidationReport:
    counts = {"recorded_states": 0, "extreme_states": 0}
    return ValidationReport(
        sha256=_hash_of_anything(source),
        library_version=__version__,
        when=datetime.now(timezone.utc),
        findings=findings.sorted(),
        **{**counts, **found},
    )


def _hash_of_anything(source: str) -> str:
    # A source with half a surrogate pair is no planner, and has no hash as a file.
    return hashlib.sha256(source.encode("utf-8", errors="surrogatepass")).hexdigest()
