"""Records for the tests of the answer cache."""

from __future__ import annotations

from llm_wrappers.llm.answer import Completion
from llm_wrappers.llm.cache.store import Failure, Record
from llm_wrappers.llm.request import Request, as_messages

MODEL = "openai/gpt-5-mini"
ALWAYS = 4_000_000_000.0
"""A time that no test reaches."""


def a_record(prompt="Where is water?", answer="West", *, model=MODEL, created=1000.0, **said):
    request = Request(model=model, messages=as_messages(prompt))
    return Record(request=request, completion=Completion(text=answer, **said), created=created)


def a_failure(message="refused", expires=ALWAYS):
    return Failure(kind="InvalidRequestError", message=message, preview="Where", expires=expires)
