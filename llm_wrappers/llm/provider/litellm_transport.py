"""Requests through litellm, which speaks to almost every provider and to servers of your own."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError, LLMWrappersError
from llm_wrappers.llm.brake import check_requests_allowed, requests_allowed
from llm_wrappers.llm.completion import Completion
from llm_wrappers.llm.provider._errors import our_error
from llm_wrappers.llm.provider._litellm import call_apart, litellm
from llm_wrappers.llm.provider._log_guard import redacted_logs
from llm_wrappers.llm.provider._reply import read_reply
from llm_wrappers.llm.provider._strict_schema import response_format
from llm_wrappers.llm.provider._worst_case import worst_case
from llm_wrappers.llm.provider.connection import Connection
from llm_wrappers.llm.request import Request
from llm_wrappers.llm.transport import Cost

__all__ = ["LiteLLMTransport"]

_PLACEHOLDER = "no-key-needed"
# Providers that litellm asks over the network for what a model can do.
_ASKED_OVER_THE_NETWORK = frozenset({"ollama", "ollama_chat"})


class LiteLLMTransport:
    """Sends requests through litellm, once each: retries, cache and budget are the client's.

    litellm is imported at the first request, and never while requests are not allowed. Parameters
    that a model does not take are refused, never left out silently. Where a server does not say how
    many tokens it used, they are estimated.

    Args:
        connection: How to reach the model; None for the provider's own address and environment
            variables.
        prices: Dollars per million prompt tokens and per million completion tokens; None to take
            them from litellm's list.
        schemas: Whether the model can be held to a JSON schema; None for what litellm knows.

    Raises:
        InvalidOptionError: If the prices are no two numbers from zero upwards, or `schemas` is
            neither a bool nor None.

    >>> LiteLLMTransport(Connection(api_base="http://localhost:8000/v1"))
    LiteLLMTransport(Connection(api_base='http://localhost:8000/v1', timeout=60.0))
    """

    def __init__(
        self,
        connection: Connection | None = None,
        *,
        prices: tuple[float, float] | None = None,
        schemas: bool | None = None,
    ) -> None:
        checks.one_of("schemas", schemas, (True, False, None))
        self.connection = connection or Connection()
        self.prices = _checked_prices(prices)
        self.schemas = schemas

    def complete(self, request: Request, *, send_schema: bool) -> Completion:
        """Return the model's answer; see `Transport` for what is raised.

        Args:
            request: What to ask.
            send_schema: Whether to hand the answer schema to the provider, in OpenAI's strict form
                if the schema has one.
        """
        _check_brake(request)
        # Raised here and not where litellm's own exception is at hand: that may hold the key, and
        # would become the context of ours.
        outcome = self._outcome(request, send_schema)
        if isinstance(outcome, LLMWrappersError):
            raise outcome
        return outcome

    def supports_schema(self, model: str) -> bool:
        """Return whether the model can be held to a JSON schema, by `schemas` or as litellm knows.

        Where litellm would be asked it is False while requests are not allowed, so that litellm is
        not imported for nothing.
        """
        if self.schemas is not None:
            return self.schemas
        if not requests_allowed():
            return False
        module = litellm()
        with suppress(Exception):
            if module.get_llm_provider(model)[1] not in _ASKED_OVER_THE_NETWORK:
                return bool(module.supports_response_schema(model))
        return False

    def worst_case(self, request: Request) -> Cost:
        """Return the most that the request can cost; see `Transport`.

        The answer counts with `max_tokens` if it is given, else with the most that the model can
        say, else with 4096 tokens (our choice).

        Raises:
            PromptTooLongError: If the prompt is far over the context window.
            RequestsNotAllowedError: If requests are not allowed.
        """
        _check_brake(request)
        return worst_case(litellm(), request, self.prices)

    def __repr__(self) -> str:
        prices = "" if self.prices is None else f", prices={self.prices}"
        return f"{type(self).__name__}({self.connection!r}{prices})"

    def _outcome(self, request: Request, send_schema: bool) -> Completion | LLMWrappersError:
        secrets = self.connection.secrets
        arguments = self.connection.arguments()
        module = litellm()
        started = time.monotonic()
        with redacted_logs(secrets):
            try:
                arguments.update(self._key_arguments(module, request.model, arguments))
                response = call_apart(
                    module.completion,
                    {**_question(request, send_schema), **arguments, **_SWITCHES},
                )
                return read_reply(
                    module,
                    response,
                    request=request,
                    seconds=time.monotonic() - started,
                    prices=self.prices,
                )
            except LLMWrappersError as error:
                return error.with_traceback(None)  # Frames that hold the key.
            except Exception as error:
                return our_error(error, model=request.model, secrets=secrets)

    def _key_arguments(
        self, module: Any, model: str, arguments: Mapping[str, Any]
    ) -> dict[str, str]:
        """Return the key to send besides what is given, if any.

        Raises:
            AuthenticationError: If the provider needs a key and there is none.
        """
        _, provider, found, _ = module.get_llm_provider(model)
        if "api_key" in arguments or found or module.api_key:
            return {}
        wanted = _missing_keys(module, model, provider)
        if not wanted:
            return {}
        if "api_base" in arguments or _address_in_environment(provider):
            # Servers of one's own rarely ask for a key, and litellm always does.
            return {"api_key": _PLACEHOLDER}
        if self.connection.has_credentials:
            return {}
        raise self.connection.missing_key(model, wanted)


# One request for each call, and nothing answered from elsewhere.
_SWITCHES = {"max_retries": 0, "num_retries": 0, "caching": False, "drop_params": False}


def _question(request: Request, send_schema: bool) -> dict[str, Any]:
    question = {
        "model": request.model,
        "messages": [dict(message) for message in request.messages],
        **request.params,
    }
    if send_schema and request.answer_schema is not None:
        question["response_format"] = response_format(request.answer_schema)
    return question


def _check_brake(request: Request) -> None:
    check_requests_allowed(f"{request.model} with {request.preview!r}")


def _missing_keys(module: Any, model: str, provider: str) -> list[str]:
    """Return the environment variables of which the provider needs one and none is set."""
    missing = module.validate_environment(model).get("missing_keys", [])
    names = [name for name in missing if name.endswith(("_API_KEY", "_API_TOKEN"))]
    usual = f"{provider.upper()}_API_KEY"
    if not names and not os.environ.get(usual, "unset").strip():
        names = [usual]  # For litellm a variable that is set to nothing is set.
    # litellm's list does not have every name that litellm itself accepts.
    stem = re.sub(r"[^A-Z0-9]", "", provider.upper())[:6]
    others = [
        name
        for name, value in os.environ.items()
        if name.replace("_", "").startswith(stem) and name.endswith(("KEY", "TOKEN"))
        if value.strip()
    ]
    return [] if others else names


def _address_in_environment(provider: str) -> bool:
    names = (f"{provider.upper()}_API_BASE", f"{provider.upper()}_BASE_URL")
    return any(os.environ.get(name) for name in names)


def _checked_prices(prices: Any) -> tuple[float, float] | None:
    if prices is None:
        return None
    is_pair = isinstance(prices, tuple | list) and len(prices) == 2
    if not is_pair or not all(checks.is_number(price) and price >= 0 for price in prices):
        raise InvalidOptionError(
            "expected prices as two numbers >= 0, dollars per million prompt tokens and per "
            f"million completion tokens, like (0.25, 2.0), got {prices!r}"
        )
    return float(prices[0]), float(prices[1])
