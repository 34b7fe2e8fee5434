"""The most that a request can cost, without asking anybody."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from llm_wrappers.errors import PromptTooLongError
from llm_wrappers.llm.request import Request, canonical_json
from llm_wrappers.llm.transport import Cost

__all__ = ["Prices", "count_tokens", "priced", "texts_of", "worst_case"]

Prices = tuple[float, float]

# Our choices. Tokenizers differ: for the same text, those of current models make up to half as
# many tokens more or less than the one that litellm brings along.
_MARGIN = 1.5
_TOKENS_PER_MESSAGE = 8
_TOKENS_PER_ATTACHMENT = 3000
_ANSWER_TOKENS = 4096
_CHUNK = 10_000
_MILLION = 1_000_000


def worst_case(litellm: Any, request: Request, prices: Prices | None) -> Cost:
    """Return tokens and dollars of the longest prompt and answer that the request may come to.

    Args:
        litellm: The module.
        request: What is going to be asked.
        prices: Dollars per million prompt and completion tokens; None to look them up.

    Raises:
        PromptTooLongError: If the prompt is over the context window by any way of counting.
    """
    facts = _model_facts(litellm, request.model)
    counted = count_tokens(litellm, texts_of(request)) + _fixed_tokens(request)
    window = facts.get("max_input_tokens")
    if isinstance(window, int) and counted > _MARGIN * window:
        raise PromptTooLongError(
            f"the prompt has about {counted} tokens, and the context window of {request.model} "
            f"holds {window}: shorten the prompt, or use a model with a larger window"
        )
    prompt = min(math.ceil(_MARGIN * counted), _bytes_of(request) + _fixed_tokens(request))
    answer = _longest_answer(request, facts)
    dollars = priced(prompt, answer, prices) if prices else _listed_price(facts, prompt, answer)
    return Cost(tokens=prompt + answer, dollars=dollars)


def _model_facts(litellm: Any, model: str) -> Mapping[str, Any]:
    # Read from the list itself, because litellm's own look-up asks the server for some providers.
    bare = model.partition("/")[2]
    for name in (model, bare):
        facts = litellm.model_cost.get(name)
        if isinstance(facts, Mapping):
            return facts
    return {}


def count_tokens(litellm: Any, text: str) -> int:
    """Return about how many tokens a text has, by the tokenizer that litellm brings along."""
    # In chunks, because the tokenizer takes quadratic time for long words. No model is named,
    # because litellm would fetch the tokenizers of some.
    chunks = (text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK))
    return sum(int(litellm.token_counter(model="", text=chunk)) for chunk in chunks)


def priced(prompt: int, answer: int, prices: Prices) -> float:
    """Return the dollars for tokens at prices per million.

    >>> priced(1000, 100, (1.0, 10.0))
    0.002
    """
    return (prompt * prices[0] + answer * prices[1]) / _MILLION


def _longest_answer(request: Request, facts: Mapping[str, Any]) -> int:
    given = [request.params.get(name) for name in ("max_tokens", "max_completion_tokens")]
    limits = [limit for limit in given if isinstance(limit, int)]
    known = facts.get("max_output_tokens")
    return max(limits) if limits else known if isinstance(known, int) else _ANSWER_TOKENS


def _listed_price(facts: Mapping[str, Any], prompt: int, answer: int) -> float | None:
    prompt_price = _highest(facts, "input_cost_per_token")
    answer_price = _highest(facts, "output_cost_per_token")
    if prompt_price is None or answer_price is None:
        return None
    return prompt * prompt_price + answer * answer_price


def _highest(facts: Mapping[str, Any], name: str) -> float | None:
    # Long prompts can cost more per token: "input_cost_per_token_above_200k_tokens".
    prices = [
        price
        for key, price in facts.items()
        if (key == name or key.startswith(f"{name}_above_")) and isinstance(price, int | float)
    ]
    return max(prices, default=None)


def texts_of(request: Request) -> str:
    """Return all texts that a request sends."""
    schema = [] if request.answer_schema is None else [canonical_json(request.answer_schema)]
    return "\n".join([*(part for part in _parts(request) if part), *schema])


def _bytes_of(request: Request) -> int:
    # No token is shorter than a byte.
    return len(texts_of(request).encode())


def _fixed_tokens(request: Request) -> int:
    attachments = sum(part is None for part in _parts(request))
    messages = len(request.messages) * _TOKENS_PER_MESSAGE
    return messages + attachments * _TOKENS_PER_ATTACHMENT


def _parts(request: Request) -> Iterator[str | None]:
    """Yield the texts of all messages, and None for each image or other attachment."""
    for message in request.messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else [content]:
            text = part.get("text") if isinstance(part, Mapping) else part
            yield text if isinstance(text, str) else None if part is not None else ""
