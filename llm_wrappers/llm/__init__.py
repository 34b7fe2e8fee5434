"""The language model layer: any model through one small client, asked once, paid once.

Nothing here imports litellm, opens a file or a socket before the first question.
"""

from llm_wrappers.llm.answer import Answer, Completion
from llm_wrappers.llm.brake import allow_requests, requests_allowed
from llm_wrappers.llm.budget import Budget
from llm_wrappers.llm.cache import open_store
from llm_wrappers.llm.cache.files import export_answers, import_answers
from llm_wrappers.llm.cache.store import AnswerStore, Record
from llm_wrappers.llm.client import LLM
from llm_wrappers.llm.ledger import Spending
from llm_wrappers.llm.live.source import LiveSource
from llm_wrappers.llm.names import resolve_llm
from llm_wrappers.llm.request import Prompt, Request
from llm_wrappers.llm.transport import Cost, Transport
from llm_wrappers.llm.usage import Usage

__all__ = [
    "LLM",
    "Answer",
    "AnswerStore",
    "Budget",
    "Completion",
    "Cost",
    "LiveSource",
    "Prompt",
    "Record",
    "Request",
    "Spending",
    "Transport",
    "Usage",
    "allow_requests",
    "export_answers",
    "import_answers",
    "open_store",
    "requests_allowed",
    "resolve_llm",
]
