"""What can go wrong with one reply of a provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_wrappers.testing._llm_reply import error_reply

__all__ = ["Fault"]

Payload = Any


def _unchanged(reply: dict[str, Any]) -> Payload:
    return reply


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong with one reply of `LLMServer`; made by its class methods.

    Args:
        name: What it is, for messages and test ids.
        change: Makes of the good reply what is sent: JSON, or bytes as they are.
        status: The HTTP status.
        headers: More headers.
        delay: Seconds to wait before the reply.
        resets: Whether the connection is reset in the middle of the body.

    >>> Fault.rate_limit(retry_after=1)
    Fault.rate_limit
    """

    name: str
    change: Callable[[dict[str, Any]], Payload] = field(default=_unchanged, compare=False)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    resets: bool = False

    def __repr__(self) -> str:
        return f"Fault.{self.name}"

    @classmethod
    def error(
        cls,
        status: int = 500,
        message: str = "The server had an error.",
        *,
        kind: str = "server_error",
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> Fault:
        """An HTTP status of your choice with an error in the form of OpenAI."""
        body = error_reply(message, kind=kind, code=code)
        return cls(name or f"error({status})", lambda _: body, status, headers or {})

    @classmethod
    def rate_limit(cls, retry_after: float | str | None = None) -> Fault:
        """Too many requests (429), with `Retry-After` if given: seconds or an HTTP date."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return cls.error(
            429,
            "Rate limit reached for requests.",
            kind="requests",
            code="rate_limit_exceeded",
            headers=headers,
            name="rate_limit",
        )

    @classmethod
    def quota(cls) -> Fault:
        """The account is out of money (429), which no waiting mends."""
        return cls.error(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            kind="insufficient_quota",
            code="insufficient_quota",
            name="quota",
        )

    @classmethod
    def unauthorized(cls, message: str = "Incorrect API key provided.") -> Fault:
        """The key is refused (401)."""
        return cls.error(
            401, message, kind="invalid_request_error", code="invalid_api_key", name="unauthorized"
        )

    @classmethod
    def unknown_model(cls) -> Fault:
        """The model does not exist (404)."""
        return cls.error(
            404,
            "The model does not exist or you do not have access to it.",
            kind="invalid_request_error",
            code="model_not_found",
            name="unknown_model",
        )

    @classmethod
    def too_long(cls) -> Fault:
        """The prompt is over the context window (400)."""
        return cls.error(
            400,
            "This model's maximum context length is 8192 tokens. However, your messages "
            "resulted in 9000 tokens. Please reduce the length of the messages.",
            kind="invalid_request_error",
            code="context_length_exceeded",
            name="too_long",
        )

    @classmethod
    def slow(cls, seconds: float) -> Fault:
        """The good reply, but late."""
        return cls("slow", delay=seconds)

    @classmethod
    def cut(cls) -> Fault:
        """The connection is reset in the middle of the body."""
        return cls("cut", resets=True)

    @classmethod
    def malformed(cls) -> Fault:
        """A body that is not JSON, with status 200."""
        return cls("malformed", lambda _: b'{"id": "chatcmpl-0", "choices": [')

    @classmethod
    def empty_choices(cls) -> Fault:
        """A reply without any answer in it."""
        return cls("empty_choices", lambda reply: {**reply, "choices": []})

    @classmethod
    def wrong_schema(cls, text: str = '{"unexpected": true}') -> Fault:
        """Another text than the one asked for."""
        return cls.message({"role": "assistant", "content": text}, name="wrong_schema")

    @classmethod
    def message(
        cls,
        message: Mapping[str, Any],
        *,
        finish_reason: str = "stop",
        name: str = "message",
    ) -> Fault:
        """A message of your own: a refusal, reasoning without content, and so on."""

        def change(reply: dict[str, Any]) -> Payload:
            choice = {**reply["choices"][0], "message": message, "finish_reason": finish_reason}
            return {**reply, "choices": [choice]}

        return cls(name, change)
