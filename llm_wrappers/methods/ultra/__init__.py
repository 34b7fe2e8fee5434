"""ULTRA (arXiv 2505.20671): a model finds and corrects the steps that decided an episode."""

from llm_wrappers.methods.ultra.guidance import UltraReport, write_guidance
from llm_wrappers.methods.ultra.guides import resolve_guides
from llm_wrappers.methods.ultra.llm_corrector import LLMCorrector
from llm_wrappers.methods.ultra.llm_selector import LLMSelector
from llm_wrappers.methods.ultra.recipe import wrap
from llm_wrappers.methods.ultra.refining import Refinement, Trainer, refine

__all__ = [
    "LLMCorrector",
    "LLMSelector",
    "Refinement",
    "Trainer",
    "UltraReport",
    "refine",
    "resolve_guides",
    "wrap",
    "write_guidance",
]
