"""How good a judge is: against an oracle, a person's labels, and itself in other words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.judge import Judge, JudgeFunction, Judgements
from llm_wrappers.guidance.judges.names import JUDGES
from llm_wrappers.guidance.states import States
from llm_wrappers.methods.lmgt.annotate import all_judgements

__all__ = ["Comparison", "JudgeQuality", "audit_judge", "compare"]


@dataclass(frozen=True)
class Comparison:
    """Two sets of judgements of the same states and actions.

    Args:
        compared: Where both have one.
        agreement: The share of these in which they are equal; None if there are none.
        opposed: The share in which one approves and the other disapproves.
        kappa: Cohen's kappa, agreement beyond chance: 1 is always, 0 is what two judges with these
            shares of answers reach by chance. None where chance alone explains all.
    """

    compared: int
    agreement: float | None
    opposed: float | None
    kappa: float | None

    def __str__(self) -> str:
        if self.agreement is None:
            return "nothing to compare"
        kappa = "" if self.kappa is None else f", kappa {self.kappa:.2f}"
        return f"{self.agreement:.1%} equal, {self.opposed:.1%} opposed{kappa} ({self.compared})"


def compare(mine: Judgements, theirs: Judgements) -> Comparison:
    """Compare two sets of n judgements."""
    pairs = [
        (one, other)
        for one, other in zip(mine, theirs, strict=True)
        if one is not None and other is not None
    ]
    if not pairs:
        return Comparison(0, None, None, None)
    agreement = sum(one == other for one, other in pairs) / len(pairs)
    opposed = sum(one * other < 0 for one, other in pairs) / len(pairs)
    first, second = (Counter(column) for column in zip(*pairs, strict=True))
    chance = sum(first[value] * second[value] for value in (-1, 0, 1)) / len(pairs) ** 2
    kappa = None if chance == 1.0 else (agreement - chance) / (1 - chance)
    return Comparison(len(pairs), agreement, opposed, kappa)


@dataclass(frozen=True)
class JudgeQuality:
    """What is known of a judge after an audit.

    Args:
        asked: About how many states and actions it was asked.
        shares: The shares of +1, 0, -1 and no answer, as ``good``, ``neutral``, ``bad``, ``none``.
        unreadable: How many answers could not be read; None for a judge that does not count them.
        oracle: Compared with the oracle; None without one.
        labels: Compared with a person's labels; None without any.
        rephrasings: Compared with itself in other words, by name.
        consistency: The share of questions with the same answer in all words; None without any.
    """

    asked: int
    shares: Mapping[str, float]
    unreadable: int | None
    oracle: Comparison | None
    labels: Comparison | None
    rephrasings: Mapping[str, Comparison]
    consistency: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain data for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.shares.items())
        rows = [("asked about", str(self.asked)), ("answers", shares)]
        if self.unreadable is not None:
            rows.append(("unreadable", str(self.unreadable)))
        if self.oracle is not None:
            rows.append(("against the oracle", str(self.oracle)))
        if self.labels is not None:
            rows.append(("against the labels", str(self.labels)))
        rows += [(f"rephrased: {name}", str(other)) for name, other in self.rephrasings.items()]
        if self.consistency is not None:
            rows.append(("same in all words", f"{self.consistency:.1%}"))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


def audit_judge(
    judge: Judge | JudgeFunction,
    states: States,
    actions: Sequence[Any],
    *,
    oracle: Judge | JudgeFunction | None = None,
    labels: Sequence[int | None] | None = None,
    rephrasings: Mapping[str, Judge | JudgeFunction] | None = None,
    progress_bar: bool | None = None,
) -> JudgeQuality:
    """Ask a judge about states and actions, and compare what it says.

    A wrong judge ruins training rather than slowing it down, so look before you train.

    Args:
        judge: The judge. A language model is asked and waited for.
        states: The n states, for example of `questions_about`.
        actions: The n actions.
        oracle: A judge that is right, such as ``resolve_judge("oracle", ...)``.
        labels: A person's n judgements, None where there is none.
        rephrasings: Judges that ask the same in other words, by name; see `LLMJudge.rephrased`.
        progress_bar: As in `LLM.ask_many`.

    Raises:
        InvalidOptionError: If the numbers of states, actions, labels and answers differ.
        LLMWrappersError: As `LLM.ask_many` says.

    >>> from llm_wrappers.guidance.judges import ConstantJudge
    >>> states = States([{"x": 0}, {"x": 1}], lambda facts: ["", ""])
    >>> print(audit_judge(ConstantJudge(1), states, [0, 1], labels=[1, -1]))
    asked about         2
    answers             good 100.0%, neutral 0.0%, bad 0.0%, none 0.0%
    against the labels  50.0% equal, 50.0% opposed, kappa 0.00 (2)
    """
    if len(actions) != len(states):
        raise InvalidOptionError(
            f"expected an action for each of the {len(states)} states, got {len(actions)}"
        )

    def answers_of(other: Judge | JudgeFunction) -> Judgements:
        found = all_judgements(JUDGES.adapted(other), states, actions, progress_bar=progress_bar)
        return _checked(found, len(states), "answers")

    before = _unreadable(judge)
    answers = answers_of(judge)
    unreadable = None if before is None else (_unreadable(judge) or 0) - before
    others = {name: answers_of(other) for name, other in (rephrasings or {}).items()}
    return JudgeQuality(
        asked=len(states),
        shares=_shares(answers),
        unreadable=unreadable,
        oracle=None if oracle is None else compare(answers, answers_of(oracle)),
        labels=None
        if labels is None
        else compare(answers, _checked(labels, len(states), "labels")),
        rephrasings={name: compare(answers, other) for name, other in others.items()},
        consistency=_consistency([answers, *others.values()]) if others else None,
    )


def _checked(judgements: Judgements, number: int, what: str) -> Judgements:
    if len(judgements) != number:
        raise InvalidOptionError(f"expected {number} {what}, got {len(judgements)}")
    wrong = [value for value in judgements if value not in (-1, 0, 1, None)]
    if wrong:
        raise InvalidOptionError(f"expected {what} of -1, 0, +1 or None, got {wrong[0]!r}")
    return judgements


def _unreadable(judge: Any) -> int | None:
    stats = getattr(judge, "stats", None)
    count = None if stats is None else stats().get("failures_parse")
    return None if count is None else int(count)


def _shares(answers: Judgements) -> dict[str, float]:
    names = {"good": 1, "neutral": 0, "bad": -1, "none": None}
    counts = Counter(answers)
    return {name: counts[value] / max(1, len(answers)) for name, value in names.items()}


def _consistency(versions: Sequence[Judgements]) -> float | None:
    rows = list(zip(*versions, strict=True))
    if not rows:
        return None
    return sum(None not in row and len(set(row)) == 1 for row in rows) / len(rows)
