"""LMGT (arXiv 2409.04744): rewards shifted by a language model's judgement of each action."""

from llm_wrappers.methods.lmgt.annotate import annotate, enumerate_states, questions_about
from llm_wrappers.methods.lmgt.frames import FrameCaptioner, FrameInfoWrapper
from llm_wrappers.methods.lmgt.llm_judge import LLMJudge
from llm_wrappers.methods.lmgt.llm_potential import LLMPotential
from llm_wrappers.methods.lmgt.quality import Comparison, JudgeQuality, audit_judge
from llm_wrappers.methods.lmgt.recipe import wrap
from llm_wrappers.methods.lmgt.vision_judge import VisionJudge
from llm_wrappers.methods.lmgt.wording import parse_number, parse_score

__all__ = [
    "Comparison",
    "FrameCaptioner",
    "FrameInfoWrapper",
    "JudgeQuality",
    "LLMJudge",
    "LLMPotential",
    "VisionJudge",
    "annotate",
    "audit_judge",
    "enumerate_states",
    "parse_number",
    "parse_score",
    "questions_about",
    "wrap",
]
