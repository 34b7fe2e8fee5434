"""Judges that need no file: a rule, and judges that are wrong in a known way, for ablations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.judge import Judge, Judgements
from llm_wrappers.guidance.stable_random import stable_uniform
from llm_wrappers.guidance.states import States

__all__ = ["ConstantJudge", "NegatedJudge", "NoisyJudge", "RandomJudge", "RuleJudge"]


class RuleJudge:
    """Applies a rule to each state and the action taken in it.

    Args:
        rule: From the facts of one state and one action to -1, 0 or +1.

    >>> judge = RuleJudge(lambda facts, action: 1 if action == facts["x"] else -1)
    >>> judge.judge(States([{"x": 0}, {"x": 1}], lambda facts: []), [0, 0])
    [1, -1]
    """

    def __init__(self, rule: Callable[[Mapping[str, Any], Any], int]) -> None:
        self.rule = rule

    def judge(self, states: States, actions: Sequence[Any]) -> list[int]:
        """Return what the rule says of each."""
        return [
            self.rule(facts, action) for facts, action in zip(states.facts, actions, strict=True)
        ]


class ConstantJudge:
    """Says the same of everything.

    Args:
        value: -1, 0 or +1.

    Raises:
        InvalidOptionError: If it is none of these.
    """

    pure = True
    reads: tuple[str, ...] = ()

    def __init__(self, value: int) -> None:
        if value not in (-1, 0, 1):
            raise InvalidOptionError(f"a judgement must be -1, 0 or +1, got {value!r}")
        self.value = int(value)

    def judge(self, states: States, actions: Sequence[Any]) -> list[int]:
        """Return the constant for each."""
        return [self.value] * len(states)


class RandomJudge:
    """Judgements of -1, 0 and +1, equally likely, random but fixed for each state and action.

    Args:
        seed: Another seed gives other judgements.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def judge(self, states: States, actions: Sequence[Any]) -> list[int]:
        """Return a random judgement for each."""
        return [
            int(3 * stable_uniform(self.seed, facts, action)) - 1
            for facts, action in zip(states.facts, actions, strict=True)
        ]


class NegatedJudge:
    """The opposite of another judge.

    Args:
        inner: The other judge.
    """

    def __init__(self, inner: Judge) -> None:
        self.inner = inner
        self.pure = bool(getattr(inner, "pure", False))
        self.reads = getattr(inner, "reads", None)

    def judge(self, states: States, actions: Sequence[Any]) -> Judgements:
        """Return the other judge's answers with their signs turned."""
        return [None if value is None else -value for value in self.inner.judge(states, actions)]


class NoisyJudge:
    """Another judge whose judgements are turned to their opposite in a share of all cases.

    Which cases is random but fixed for each state and action.

    Args:
        inner: The other judge.
        share: The share, in [0, 1].
        seed: Another seed turns others.

    Raises:
        InvalidOptionError: If the share is outside [0, 1].
    """

    def __init__(self, inner: Judge, share: float, *, seed: int = 0) -> None:
        checks.number("share", share, least=0, most=1)
        self.inner = inner
        self.share = share
        self.seed = seed
        self.pure = bool(getattr(inner, "pure", False))

    def judge(self, states: States, actions: Sequence[Any]) -> Judgements:
        """Return the other judge's answers, some of them turned."""
        answers = self.inner.judge(states, actions)
        rows = zip(answers, states.facts, actions, strict=True)
        return [self._turned(value, facts, action) for value, facts, action in rows]

    def _turned(self, value: int | None, facts: Any, action: Any) -> int | None:
        if value is None or stable_uniform(self.seed, facts, action) >= self.share:
            return value
        return -value
