"""Running planner code that somebody else wrote, contained."""

from llm_wrappers.sandbox.answers import PlannerFailure, checked_answer
from llm_wrappers.sandbox.lint import Problem, lint_planner
from llm_wrappers.sandbox.monty import MontyRuntime
from llm_wrappers.sandbox.report import Finding, ValidationReport
from llm_wrappers.sandbox.states import extreme_states
from llm_wrappers.sandbox.validate import validate_planner

__all__ = [
    "Finding",
    "MontyRuntime",
    "PlannerFailure",
    "Problem",
    "ValidationReport",
    "checked_answer",
    "extreme_states",
    "lint_planner",
    "validate_planner",
]
