"""Records for the tests of the answer cache: some, and any at all."""

from hypothesis import strategies as st

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


names = st.text(st.characters(codec="utf-8"), max_size=12)
texts = st.text(max_size=12) | st.sampled_from(["\ud800", "\u2028\n\r", "a\x00b", "ü🦀", "%s{}"])
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
objects = st.dictionaries(names, values, max_size=3)
counts = st.integers(0, 10**9)
amounts = st.floats(0, 1e6)
records = st.builds(
    Record,
    request=st.builds(
        Request,
        model=names,
        messages=st.lists(objects, max_size=3).map(tuple),
        params=objects,
        answer_schema=st.none() | objects,
        sample=st.integers(0, 5),
        prompt_version=texts,
    ),
    completion=st.builds(
        Completion,
        text=texts,
        model=texts,
        prompt_tokens=counts,
        completion_tokens=counts,
        dollars=st.none() | amounts,
        seconds=amounts,
        finish_reason=texts,
        logprobs=st.none() | st.lists(objects, max_size=2),
        repairs=st.integers(0, 3),
    ),
    created=amounts,
)
