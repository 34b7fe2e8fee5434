"""Reading what comes back: a reply of litellm, or the exception that it raised in its place."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import JsonValue

from llm_wrappers.errors import (
    AuthenticationError,
    InvalidRequestError,
    LLMWrappersError,
    PromptTooLongError,
    ProviderError,
    UnknownModelError,
)
from llm_wrappers.llm.answer import Completion
from llm_wrappers.llm.provider.redaction import Secrets
from llm_wrappers.llm.provider.requests import Prices, count_tokens, priced, texts_of
from llm_wrappers.llm.request import Request

__all__ = ["FailedRequest", "our_error", "read_failure", "read_reply", "retry_after_of"]

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
        text = _refusal_in(choice.message)
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


def _refusal_in(message: Any) -> str | None:
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


_LONGEST_TEXT = 300
_LONGEST_WAIT = 24 * 3600.0  # Our choice; a clock that is wrong must not stop a run for years.
_PREFIX = re.compile(r"^(?:(?:litellm\.)?\w*(?:Error|Exception|Timeout)[:\s-]+)+")
# Advice of litellm that does not hold here, and tracebacks of its own.
_REST = re.compile(
    r"\s*(?:To drop |If you want to use these|Handle with `litellm|Traceback \(most recent).*", re.S
)


@dataclass(frozen=True)
class FailedRequest:
    """What is known of a request that failed."""

    kinds: frozenset[str]
    status: int | None
    text: str
    details: str
    retry_after: float | None

    def is_a(self, *names: str) -> bool:
        """Return whether a class of one of these names is in the chain."""
        return not self.kinds.isdisjoint(names)

    def says(self, *phrases: str) -> bool:
        """Return whether the provider says one of these phrases."""
        return any(phrase in self.details for phrase in phrases)


def read_failure(error: BaseException, secrets: Secrets) -> FailedRequest:
    """Return what an exception and those that it came from tell."""
    chain = list(_chain(error))
    kinds = frozenset(base.__name__ for link in chain for base in type(link).__mro__)
    replies = [link for link in chain if _is_reply(link)]
    reply = getattr(replies[-1], "response", None) if replies else None
    said = _REST.sub("", _PREFIX.sub("", str(error)))
    headers = getattr(error, "litellm_response_headers", None) or getattr(reply, "headers", None)
    return FailedRequest(
        kinds=kinds,
        status=getattr(reply, "status_code", None) or _claimed_status(error, kinds),
        text=_shortened(secrets.redact(_message(said))),
        details=f"{said} {getattr(error, 'body', '')}".lower(),
        retry_after=retry_after_of(headers or {}),
    )


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait that a reply asks for, at most a day; None if it does not ask."""
    lowered = {str(name).lower(): str(value) for name, value in headers.items()}
    seconds = _number(lowered.get("retry-after-ms"))
    if seconds is not None:
        seconds /= 1000
    elif "retry-after" in lowered:
        seconds = _number(lowered["retry-after"])
        if seconds is None:
            seconds = _seconds_until(lowered["retry-after"])
    return None if seconds is None else min(max(seconds, 0.0), _LONGEST_WAIT)


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _is_reply(link: BaseException) -> bool:
    # Other exceptions of litellm bring a response as well, one that it made up.
    names = {base.__name__ for base in type(link).__mro__}
    return not names.isdisjoint({"HTTPStatusError", "APIStatusError"}) and not (
        type(link).__module__.startswith("litellm.exceptions")
    )


def _claimed_status(error: BaseException, kinds: frozenset[str]) -> int | None:
    # litellm says 500 for whatever it met on the way, and 408 for its own timeouts.
    status = getattr(error, "status_code", None)
    if status == 500 or kinds & {"TransportError", "APIConnectionError", "JSONDecodeError"}:
        return None
    return status if isinstance(status, int) else None


def _message(said: str) -> str:
    try:
        body = json.loads(said)
        said = body["error"]["message"]
    except (ValueError, LookupError, TypeError):
        pass
    return " ".join(str(said).split()).rstrip(". ")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds_until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp() - time.time()


_TOO_LONG = ("context_length_exceeded", "maximum context length", "prompt is too long")
_NO_MONEY = ("insufficient_quota", "exceeded your current quota", "credit balance is too low")
_NO_KEY = ("missing credentials", "api_key client option must be set", "missing api key")
_BUSY = frozenset({408, 409, 425, 429})


def our_error(error: BaseException, *, model: str, secrets: Secrets) -> LLMWrappersError:
    """Return our exception for one of litellm's; it holds nothing of the other.

    Raise it where no exception is being handled, so that the other does not become its context.
    """
    failure = read_failure(error, secrets)
    refusal = _refusal(failure, model)
    if refusal is not None:
        return refusal
    if failure.status is not None:
        return _by_status(failure, failure.status, model)
    return _without_reply(failure, model, type(error).__name__)


def _refusal(failure: FailedRequest, model: str) -> LLMWrappersError | None:
    """Return the error for a request that is wrong in itself."""
    text = failure.text
    if failure.is_a("ContextWindowExceededError") or failure.says(*_TOO_LONG):
        return PromptTooLongError(
            f"the prompt is too long for {model}: {text}. Shorten it, ask for fewer tokens with "
            "max_tokens=, or use a model with a larger context window"
        )
    if failure.is_a("ContentPolicyViolationError"):
        return InvalidRequestError(
            f"the content policy of {model} refuses the prompt: {text}. Change the prompt"
        )
    if failure.is_a("UnsupportedParamsError"):
        return InvalidRequestError(
            f"{model} does not take a parameter: {text}. Leave it out; or, if you know that the "
            "model takes it, name it in allowed_openai_params=[...]"
        )
    if failure.says("llm provider not provided"):
        return UnknownModelError(
            f"litellm knows no provider for the model {model!r}; expected provider/model, like "
            "'openai/gpt-5-mini' or 'ollama/llama3.2'; for another OpenAI-compatible server, "
            "'openai/NAME' with api_base="
        )
    if failure.says(*_NO_KEY):
        return AuthenticationError(f"no API key for {model}: {text}")
    if failure.is_a("LocalProtocolError", "UnicodeEncodeError"):
        return InvalidRequestError(
            f"the request to {model} cannot be written: {text}. Look for line ends or letters "
            "outside ASCII in the API key and in extra_headers"
        )
    return None


def _by_status(failure: FailedRequest, status: int, model: str) -> LLMWrappersError:
    """Return the error for an HTTP status."""
    said = f"{failure.text} (HTTP {status})"
    if status in (401, 403):
        return AuthenticationError(
            f"the API key for {model} was refused: {said}. Check the key, its rights and, if it is "
            "for a server of your own, api_base="
        )
    if status == 404:
        return UnknownModelError(
            f"there is no model {model} where it was asked for: {said}. Check its spelling and, "
            "if it is on a server of your own, api_base= (most end in /v1)"
        )
    if status in (400, 413, 422):
        return InvalidRequestError(
            f"{model} refuses the request: {said}. Check prompt and parameters"
        )
    if status == 402 or (status == 429 and failure.says(*_NO_MONEY)):
        return ProviderError(
            f"the account for {model} has no money left: {said}. Add some, or use another key",
            status=status,
            transient=False,
        )
    if status in _BUSY or status >= 500:
        return ProviderError(
            f"{model} is overloaded or out of order: {said}. Try again later, or with a lower "
            "concurrency=",
            status=status,
            retry_after=failure.retry_after,
        )
    return ProviderError(f"{model} failed: {said}", status=status, transient=False)


def _without_reply(failure: FailedRequest, model: str, name: str) -> ProviderError:
    """Return the error for a request that got no reply, or none that can be read."""
    if failure.is_a("ConnectTimeout", "ConnectError", "PoolTimeout"):
        return ProviderError(
            f"{model} cannot be reached: {failure.text}. Check the network, and api_base= if it is "
            "a server of your own"
        )
    if failure.is_a("TimeoutException", "APITimeoutError", "Timeout", "TimeoutError"):
        return ProviderError(
            f"{model} did not answer in time. Try again later, or allow more with timeout=",
            maybe_billed=True,
        )
    if failure.is_a("JSONDecodeError"):
        return ProviderError(
            f"{model} sent something that is no JSON. If it is a server of your own, check that "
            "api_base= is the address of its OpenAI interface (most end in /v1)",
            maybe_billed=True,
        )
    if failure.is_a("TransportError", "OSError"):
        return ProviderError(
            f"the connection to {model} was lost: {failure.text}. Try again later",
            maybe_billed=True,
        )
    if failure.is_a("ImportError"):
        return ProviderError(
            f"litellm needs another package to reach {model}: {failure.text}", transient=False
        )
    if failure.is_a("APIConnectionError", "APIError"):
        return ProviderError(
            f"{model} sent a reply that cannot be read: {failure.text}. Try again later",
            maybe_billed=True,
        )
    return ProviderError(
        f"{model} failed in a way that is not known: {name}: {failure.text}", transient=False
    )
