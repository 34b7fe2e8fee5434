"""ELLM (arXiv 2302.06692): a reward for doing what a language model suggests."""

from llm_wrappers.methods.ellm.annotate import annotate, record_captions
from llm_wrappers.methods.ellm.annotation import Annotation
from llm_wrappers.methods.ellm.closed_form_suggester import ClosedFormSuggester
from llm_wrappers.methods.ellm.llm_suggester import LLMSuggester
from llm_wrappers.methods.ellm.recipe import wrap
from llm_wrappers.methods.ellm.wording import parse_goals

__all__ = [
    "Annotation",
    "ClosedFormSuggester",
    "LLMSuggester",
    "annotate",
    "parse_goals",
    "record_captions",
    "wrap",
]
