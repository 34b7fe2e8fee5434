"""Running planner code that somebody else wrote, contained."""

from llm_wrappers.guidance.runtime.answers import checked_answer
from llm_wrappers.guidance.runtime.failure import PlannerFailure
from llm_wrappers.guidance.runtime.lint import Problem, lint_planner
from llm_wrappers.guidance.runtime.monty import MontyRuntime
from llm_wrappers.guidance.runtime.report import Finding, ValidationReport
from llm_wrappers.guidance.runtime.states import extreme_states
from llm_wrappers.guidance.runtime.validate import validate_planner

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
