"""Correctors that need no language model: rules, judges, and random advice."""

from llm_wrappers.guidance.critical.correctors.judged import JudgeCorrector
from llm_wrappers.guidance.critical.correctors.names import resolve_corrector
from llm_wrappers.guidance.critical.correctors.random import RandomCorrector
from llm_wrappers.guidance.critical.correctors.rule import RuleCorrector

__all__ = ["JudgeCorrector", "RandomCorrector", "RuleCorrector", "resolve_corrector"]
