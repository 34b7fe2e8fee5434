"""LMGT (arXiv 2409.04744): rewards shifted by a language model's judgement of each action."""

from llm_wrappers.methods.lmgt.annotate import annotate, questions_about
from llm_wrappers.methods.lmgt.comparison import Comparison
from llm_wrappers.methods.lmgt.enumerate_states import enumerate_states
from llm_wrappers.methods.lmgt.frame_captioner import FrameCaptioner
from llm_wrappers.methods.lmgt.frame_info import FrameInfoWrapper
from llm_wrappers.methods.lmgt.llm_judge import LLMJudge
from llm_wrappers.methods.lmgt.llm_potential import LLMPotential
from llm_wrappers.methods.lmgt.parsing import parse_number, parse_score
from llm_wrappers.methods.lmgt.quality import JudgeQuality, audit_judge
from llm_wrappers.methods.lmgt.recipe import wrap
from llm_wrappers.methods.lmgt.vision_judge import VisionJudge

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
