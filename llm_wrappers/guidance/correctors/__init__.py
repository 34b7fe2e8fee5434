"""Correctors that need no language model: rules, judges, and random advice."""

from llm_wrappers.guidance.correctors.judged import JudgeCorrector
from llm_wrappers.guidance.correctors.names import resolve_corrector
from llm_wrappers.guidance.correctors.random import RandomCorrector
from llm_wrappers.guidance.correctors.rule import RuleCorrector

__all__ = ["JudgeCorrector", "RandomCorrector", "RuleCorrector", "resolve_corrector"]
