"""ULTRA (arXiv 2505.20671): a model finds and corrects the steps that decided an episode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_wrappers.methods.ultra.guidance import write_guidance
from llm_wrappers.methods.ultra.guides import resolve_guides
from llm_wrappers.methods.ultra.llm_corrector import LLMCorrector
from llm_wrappers.methods.ultra.llm_selector import LLMSelector
from llm_wrappers.methods.ultra.recipe import wrap
from llm_wrappers.methods.ultra.report import UltraReport

if TYPE_CHECKING:
    from llm_wrappers.sb3.refining import Refinement, refine

__all__ = [
    "LLMCorrector",
    "LLMSelector",
    "Refinement",
    "UltraReport",
    "refine",
    "resolve_guides",
    "wrap",
    "write_guidance",
]


def __getattr__(name: str) -> Any:
    # The whole pipeline trains, so it needs Stable-Baselines3; the rest of this package does not.
    if name in ("Refinement", "refine"):
        from llm_wrappers.sb3 import refining

        return getattr(refining, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
