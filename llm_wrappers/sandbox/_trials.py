"""The trials of a validation: each asks about the same states in another way."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llm_wrappers.errors import GuidanceFileError
from llm_wrappers.sandbox._conversation import Answer
from llm_wrappers.sandbox._findings import Findings
from llm_wrappers.sandbox._turned import turned
from llm_wrappers.sandbox.failure import PlannerFailure
from llm_wrappers.sandbox.monty import MontyRuntime

__all__ = ["Asked", "ask_again", "ask_each", "ask_only_reads", "ask_turned"]

_TIMED_AGAIN = 5
_TIMES_BEFORE_SLOW = 8
_PAUSE_SECONDS = 0.05
_MOST_LOST = 10
_SHOWN_GOALS = 3
_BEYOND = PlannerFailure("load", "too long or too deep")
State = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """States, with the answer and the time that each took in the first trial."""

    states: list[State]
    answers: list[Answer]
    seconds: list[float]

    def answered(self) -> list[tuple[State, list[tuple[str, float]]]]:
        """Return the states that got a valid answer, with it."""
        # A planner that hangs too often is not asked about the rest.
        pairs = zip(self.states, self.answers, strict=False)
        return [(state, answer) for state, answer in pairs if isinstance(answer, list)]


def ask_each(source: str, states: list[State], findings: Findings, *, slow_after: float) -> Asked:
    """Ask about one state after the other; find what fails, changes its facts or is slow."""
    asked = Asked(states, [], [])
    with MontyRuntime(source, seed=1) as monty:
        # The time to start is not that of a call.
        monty.answers(states[:1])
        lost = 0
        for state in states:
            answer, seconds = _timed(monty, state)
            if isinstance(answer, PlannerFailure) and answer.kind in ("timeout", "crashed"):
                lost += 1
                if lost == 1:
                    # Another program may have had the processor.
                    answer, seconds = _timed(monty, state)
            asked.answers.append(answer)
            asked.seconds.append(seconds)
            if isinstance(answer, PlannerFailure):
                findings.add_failure(answer, state)
            if lost >= _MOST_LOST:
                break
        _find_slow(monty, asked, findings, slow_after)
    return asked


def _find_slow(monty: MontyRuntime, asked: Asked, findings: Findings, slow_after: float) -> None:
    answered = zip(asked.states, asked.answers, asked.seconds, strict=False)
    slow = [
        state
        for state, answer, seconds in answered
        if isinstance(answer, list) and seconds > slow_after
    ]
    for state in slow[:_TIMED_AGAIN]:
        again = _quickest(monty, state, slow_after)
        if again > slow_after:
            findings.add(
                "slow",
                f"one call takes {1000 * again:.0f} ms, where {1000 * slow_after:g} ms are allowed",
                state=state,
                same="",
            )


def ask_again(source: str, asked: Asked, findings: Findings) -> None:
    """Ask a new planner in another order, with other random numbers and another date."""
    answered = asked.answered()[::-1]
    with MontyRuntime(source, seed=2) as monty:
        again = monty.answers([state for state, _ in answered])
    for (state, answer), other in zip(answered, again, strict=True):
        if other != answer:
            findings.add(
                "unstable",
                f"gave {_shown(answer)} at first, and {_shown(other)} when asked again in another "
                "order, on another day and with other random numbers",
                state=state,
                same="order",
            )


def ask_only_reads(source: str, reads: Sequence[str], asked: Asked, findings: Findings) -> None:
    """Ask with nothing but the facts that the planner says it reads."""
    answered = [pair for pair in asked.answered() if set(reads) <= set(pair[0])]
    rows = [{name: state[name] for name in reads} for state, _ in answered]
    with MontyRuntime(source, seed=1) as monty:
        for (state, answer), row, other in zip(answered, rows, monty.answers(rows), strict=True):
            if other == answer:
                continue
            missed = _missed(monty, row, state, answer)
            if missed is not None:
                message, same = f"reads the fact {missed!r}, which READS does not name", missed
            else:
                same = ""
                message = (
                    f"gave {_shown(answer)}, and {_shown(other)} when it had only the facts that "
                    "READS names"
                )
            findings.add("undeclared read", message, state=state, same=same)


def ask_turned(source: str, asked: Asked, findings: Findings) -> None:
    """Ask a planner whose sets have another order, as they have from process to process."""
    answered = asked.answered()
    try:
        with MontyRuntime(turned(source), seed=1) as monty:
            others = monty.answers([state for state, _ in answered])
    except (GuidanceFileError, RecursionError):
        others = [_BEYOND]
    if isinstance(others[0], PlannerFailure) and others[0].kind == "load":
        # A source near the limits of length and depth is beyond them when it is written anew.
        return
    for (state, answer), other in zip(answered, others, strict=True):
        if isinstance(other, PlannerFailure) or not _alike(answer, other):
            findings.add(
                "unstable",
                f"gave {_shown(answer)}, and {_shown(other)} with its sets in another order; is "
                "there a loop over a set?",
                state=state,
                same="sets",
            )


def _timed(monty: MontyRuntime, state: State) -> tuple[Answer, float]:
    started = time.perf_counter()
    (answer,) = monty.answers([state], compare=True)
    return answer, time.perf_counter() - started


def _quickest(monty: MontyRuntime, state: State, enough: float) -> float:
    """Return the shortest time of some calls, with pauses: others may have had the processor."""
    shortest = math.inf
    for _ in range(_TIMES_BEFORE_SLOW):
        shortest = min(shortest, _timed(monty, state)[1])
        if shortest <= enough:
            break
        time.sleep(_PAUSE_SECONDS)
    return shortest


def _missed(monty: MontyRuntime, row: State, state: State, answer: Answer) -> str | None:
    """Return the one fact without which the answer is another, if it is one."""
    unread = [name for name in state if name not in row]
    tried = monty.answers([{**row, name: state[name]} for name in unread])
    return next((name for name, other in zip(unread, tried, strict=True) if other == answer), None)


def _alike(answer: list[tuple[str, float]], other: list[tuple[str, float]]) -> bool:
    """Return whether two answers are equal but for the last digits of their weights."""
    return len(answer) == len(other) and all(
        goal == same_goal and math.isclose(weight, same_weight, rel_tol=1e-9, abs_tol=1e-12)
        for (goal, weight), (same_goal, same_weight) in zip(answer, other, strict=True)
    )


def _shown(answer: Answer) -> str:
    if isinstance(answer, PlannerFailure):
        return f"no answer ({answer.message})"
    more = ", ..." if len(answer) > _SHOWN_GOALS else ""
    goals = ", ".join(f"({goal!r}, {weight:g})" for goal, weight in answer[:_SHOWN_GOALS])
    return f"[{goals}{more}]"
