"""Reading litellm's response."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from llm_wrappers.errors import InvalidRequestError, LLMWrappersError, ProviderError
from llm_wrappers.llm.completion import Completion
from llm_wrappers.llm.provider._worst_case import Prices, count_tokens, priced, texts_of
from llm_wrappers.llm.request import Request

__all__ = ["read_reply"]

_LEAST_LOGPROB = -9999.0  # As OpenAI writes it; JSON has no infinity.


def read_reply(
    litellm: Any, response: Any, *, request: Request, seconds: float, prices: Prices | None
) -> Completion | LLMWrappersError:
    """Return the answer in a response, or the error if there is none in it.

    A refusal is an answer: it costs what it costs, and asking again gives the same. So is an answer
    cut off at `max_tokens` before it began; its `finish_reason` says so.
    """
    choices = getattr(response, "choices", None)
    if not choices:
        return _nothing(request.model, "a reply without any answer")
    choice = choices[0]
    finish_reason = str(getattr(choice, "finish_reason", None) or "stop")
    text = _content(choice.message)
    if text is None:
        text = _refusal(choice.message)
        finish_reason = finish_reason if text is None else "refusal"
    if not text and finish_reason == "content_filter":
        return InvalidRequestError(
            f"the content filter of {request.model} withheld the answer: change the prompt"
        )
    if text is None and finish_reason != "length":
        return _nothing(request.model, f"an empty message (finish_reason {finish_reason!r})")
    prompt_tokens, completion_tokens = _usage(litellm, response, request, text or "")
    return Completion(
        text=text or "",
        model=str(getattr(response, "model", None) or request.model),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        dollars=_dollars(response, prompt_tokens, completion_tokens, prices),
        seconds=seconds,
        finish_reason=finish_reason,
        logprobs=_logprobs(choice),
    )


def _nothing(model: str, what: str) -> ProviderError:
    return ProviderError(f"{model} sent {what}. Try again later", maybe_billed=True)


def _content(message: Any) -> str | None:
    content = getattr(message, "content", None)
    return content if isinstance(content, str) else None


def _refusal(message: Any) -> str | None:
    extra = getattr(message, "provider_specific_fields", None) or {}
    refusal = getattr(message, "refusal", None) or extra.get("refusal")
    return refusal if isinstance(refusal, str) else None


def _usage(litellm: Any, response: Any, request: Request, text: str) -> tuple[int, int]:
    usage = getattr(response, "usage", None)
    prompt = int(getattr(usage, "prompt_tokens", None) or 0)
    completion = int(getattr(usage, "completion_tokens", None) or 0)
    if prompt or completion:
        return prompt, completion
    # A server that counts nothing must not make a budget endless.
    return count_tokens(litellm, texts_of(request)), count_tokens(litellm, text)


def _dollars(response: Any, prompt: int, completion: int, prices: Prices | None) -> float | None:
    if prices is not None:
        return priced(prompt, completion, prices)
    cost = (getattr(response, "_hidden_params", None) or {}).get("response_cost")
    return float(cost) if isinstance(cost, int | float) else None


def _logprobs(choice: Any) -> list[dict[str, JsonValue]] | None:
    logprobs = getattr(choice, "logprobs", None)
    dump = getattr(logprobs, "model_dump", None)
    content = (dump() if dump else logprobs or {}).get("content")
    return None if not content else [_token(entry) for entry in content]


def _token(entry: Mapping[str, Any]) -> dict[str, JsonValue]:
    others: list[JsonValue] = [
        {"token": str(other["token"]), "logprob": _finite(other["logprob"])}
        for other in entry.get("top_logprobs") or []
    ]
    token = str(entry["token"])
    return {"token": token, "logprob": _finite(entry["logprob"]), "top_logprobs": others}


def _finite(logprob: Any) -> float:
    number = float(logprob)
    return number if math.isfinite(number) else _LEAST_LOGPROB
