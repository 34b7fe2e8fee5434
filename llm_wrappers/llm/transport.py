"""How a request reaches a model: the one thing a provider has to implement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from llm_wrappers.llm.answer import Completion
from llm_wrappers.llm.request import Request

__all__ = ["Cost", "Transport"]


@dataclass(frozen=True)
class Cost:
    """Tokens and dollars, spent or expected.

    Args:
        tokens: Of prompt and answer together.
        dollars: The price; None if nobody knows it.
    """

    tokens: int = 0
    dollars: float | None = 0.0


@runtime_checkable
class Transport(Protocol):
    """Sends one request and waits for its answer; knows nothing of caches, budgets or retries.

    A transport is called from many threads at once.
    """

    def complete(self, request: Request, *, send_schema: bool) -> Completion:
        """Return the model's answer.

        Args:
            request: What to ask.
            send_schema: Whether to hand the answer schema to the provider.

        Raises:
            AuthenticationError: The key is missing or refused.
            UnknownModelError: There is no such model.
            PromptTooLongError: The prompt is over the context window.
            InvalidRequestError: The request is refused for another reason of its own.
            ProviderError: Everything that is not the caller's fault; `transient` says whether
                it is worth another try.
            RequestsNotAllowedError: The brake is on; nothing was sent.
        """

    def supports_schema(self, model: str) -> bool:
        """Return whether the provider can hold the model to a JSON schema."""

    def worst_case(self, request: Request) -> Cost:
        """Return the most that the request can cost, as far as that is known beforehand.

        `dollars` is None where no price is known. `PromptTooLongError` may be raised here.
        """
