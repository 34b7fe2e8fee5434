"""Selectors that need no language model: at random, by falling rewards, by a critic's values."""

from llm_wrappers.guidance.critical.selectors.importances import importances_of
from llm_wrappers.guidance.critical.selectors.names import resolve_selector
from llm_wrappers.guidance.critical.selectors.random import RandomSelector
from llm_wrappers.guidance.critical.selectors.return_drop import ReturnDropSelector
from llm_wrappers.guidance.critical.selectors.value_gap import ValueGapSelector

__all__ = [
    "RandomSelector",
    "ReturnDropSelector",
    "ValueGapSelector",
    "importances_of",
    "resolve_selector",
]
