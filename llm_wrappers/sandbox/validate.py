"""Trying a planner before anything depends on it."""

from __future__ import annotations

import ast
import difflib
import hashlib
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from llm_wrappers import checks
from llm_wrappers._version import __version__
from llm_wrappers.errors import GuidanceFileError, InvalidOptionError
from llm_wrappers.sandbox.answers import PlannerFailure, one_line
from llm_wrappers.sandbox.lint import lint_planner
from llm_wrappers.sandbox.monty import MontyRuntime
from llm_wrappers.sandbox.process import Answer
from llm_wrappers.sandbox.report import KINDS, Finding, ValidationReport
from llm_wrappers.sandbox.source import declared_reads, parsed
from llm_wrappers.sandbox.states import distinct_states, extreme_states

__all__ = ["validate_planner"]

_TURN = "_lw_turned"
_HELPER = f"""
def {_TURN}(items):
    return [*items][::-1] if isinstance(items, (set, frozenset)) else items
"""
_TAKES_IN_ORDER = (
    "dict", "enumerate", "extend", "filter", "iter", "join", "list", "map", "max", "min", "sorted",
    "sum", "tuple", "zip",
)  # fmt: skip


def turned(source: str) -> str:
    """Return a source that does the same wherever the order of sets says nothing.

    Monty keeps the members of a set as they came, and Python in an order that may differ from
    process to process.
    """
    tree = parsed(source)
    last_future = max(
        (n for n, node in enumerate(tree.body) if getattr(node, "module", "") == "__future__"),
        default=-1,
    )
    _Turner().visit(tree)
    tree.body[last_future + 1 : last_future + 1] = ast.parse(_HELPER).body
    return ast.unparse(ast.fix_missing_locations(tree))


class _Turner(ast.NodeTransformer):
    """Puts a call around whatever is gone through."""

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        node.iter = _around(node.iter)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        node.iter = _around(node.iter)
        return node

    def visit_Starred(self, node: ast.Starred) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.ctx, ast.Load):
            node.value = _around(node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if getattr(node.func, "id", getattr(node.func, "attr", "")) in _TAKES_IN_ORDER:
            node.args = [a if isinstance(a, ast.Starred) else _around(a) for a in node.args]
        return node


def _around(node: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(_TURN, ast.Load()), [node], [])


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

        The message may hold what planner code wrote. What makes it the same finding is `same`,
        where that is not the message.
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


_TIMED_AGAIN = 5
_TIMES_BEFORE_SLOW = 8
_PAUSE_SECONDS = 0.05
_MOST_LOST = 10
_SHOWN_GOALS = 3
_BEYOND = PlannerFailure("load", "too long or too deep")
State = dict[str, Any]


@dataclass(frozen=True)
class FirstTrial:
    """States, with the answer and the time that each took in the first trial."""

    states: list[State]
    answers: list[Answer]
    seconds: list[float]

    def answered(self) -> list[tuple[State, list[tuple[str, float]]]]:
        """Return the states that got a valid answer, with it."""
        # A planner that hangs too often is not asked about the rest.
        pairs = zip(self.states, self.answers, strict=False)
        return [(state, answer) for state, answer in pairs if isinstance(answer, list)]


def ask_each(
    source: str, states: list[State], findings: Findings, *, slow_after: float
) -> FirstTrial:
    """Ask about one state after the other; find what fails, changes its facts or is slow."""
    asked = FirstTrial(states, [], [])
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


def _find_slow(
    monty: MontyRuntime, asked: FirstTrial, findings: Findings, slow_after: float
) -> None:
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


def ask_again(source: str, asked: FirstTrial, findings: Findings) -> None:
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


def ask_only_reads(
    source: str, reads: Sequence[str], asked: FirstTrial, findings: Findings
) -> None:
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


def ask_turned(source: str, asked: FirstTrial, findings: Findings) -> None:
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
    vocabulary = checks.vocabulary(goals)
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
    source: str, asked: FirstTrial, recorded: list[dict[str, Any]], findings: Findings
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
    asked: FirstTrial, vocabulary: tuple[str, ...], findings: Findings, *, may_be_empty: bool
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
