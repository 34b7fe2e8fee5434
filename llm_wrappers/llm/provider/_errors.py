"""The table from what went wrong between litellm and a provider to our own exceptions."""

from __future__ import annotations

from llm_wrappers.errors import (
    AuthenticationError,
    InvalidRequestError,
    LLMWrappersError,
    PromptTooLongError,
    ProviderError,
    UnknownModelError,
)
from llm_wrappers.llm.provider._failure import Failure, read_failure
from llm_wrappers.llm.provider._redaction import Secrets

__all__ = ["our_error"]

_TOO_LONG = ("context_length_exceeded", "maximum context length", "prompt is too long")
_NO_MONEY = ("insufficient_quota", "exceeded your current quota", "credit balance is too low")
_NO_KEY = ("missing credentials", "api_key client option must be set", "missing api key")
_BUSY = frozenset({408, 409, 425, 429})


def our_error(error: BaseException, *, model: str, secrets: Secrets) -> LLMWrappersError:
    """Return our exception for one of litellm's; it holds nothing of the other.

    Raise it where no exception is being handled, so that the other does not become its context.

    Args:
        error: What litellm raised.
        model: The model that was asked.
        secrets: What must not be in the message.
    """
    failure = read_failure(error, secrets)
    refusal = _refusal(failure, model)
    if refusal is not None:
        return refusal
    if failure.status is not None:
        return _by_status(failure, failure.status, model)
    return _without_reply(failure, model, type(error).__name__)


def _refusal(failure: Failure, model: str) -> LLMWrappersError | None:
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


def _by_status(failure: Failure, status: int, model: str) -> LLMWrappersError:
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


def _without_reply(failure: Failure, model: str, name: str) -> ProviderError:
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
