"""A rule for one state and one action, as a judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llm_wrappers.guidance.states import States

__all__ = ["RuleJudge"]


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
