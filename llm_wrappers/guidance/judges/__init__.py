"""Judges that need no model: hand-written rules, exact solutions, tables, and ablations."""

from llm_wrappers.guidance.judges.ablations import (
    ConstantJudge,
    NegatedJudge,
    NoisyJudge,
    RandomJudge,
    RuleJudge,
)
from llm_wrappers.guidance.judges.names import resolve_judge
from llm_wrappers.guidance.judges.table import TableJudge

__all__ = [
    "ConstantJudge",
    "NegatedJudge",
    "NoisyJudge",
    "RandomJudge",
    "RuleJudge",
    "TableJudge",
    "resolve_judge",
]
