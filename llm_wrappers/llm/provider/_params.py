"""Dividing the parameters of a client: what decides the answer, and what only reaches the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.provider._redaction import is_secret, smells_of_secret

__all__ = ["is_connection_option", "split_params"]

_CONNECTION = frozenset(
    {
        "allowed_openai_params",
        "api_base",
        "api_key",
        "api_key_env",
        "api_version",
        "base_url",
        "client_id",
        "extra_headers",
        "headers",
        "metadata",
        "organization",
        "project",
        "prompt_cache_key",
        "prompt_cache_retention",
        "region_name",
        "safety_identifier",
        "service_tier",
        "ssl_verify",
        "store",
        "tenant_id",
        "timeout",
        "user",
    }
)
_CONNECTION_PREFIXES = ("aws_", "azure_", "gigachat_", "oci_", "vertex_", "watsonx_")

_NO_RETRIES = "use retries=, which waits as long as the provider asks for"
_NO_CACHE = "use cache= and mode="
_NO_OTHER_MODEL = "ask one model per client, so that the cache says truly who answered"
_NO_TOOLS = "answers are texts; for a structured answer use schema="
_NO_DROPPING = "leave out the parameter that the model does not take; nothing is dropped silently"
_NO_PRICES = "use prices=(dollars per million prompt tokens, per million completion tokens)"
_NO_TIMEOUTS = "use timeout="
_NOT_OURS = "it is no option of this client"
_NO_MOCK = "use ScriptedLLM or LLMServer from llm_wrappers.testing"
_NO_CLIENTS = "the client makes its own connections; use api_base=, extra_headers= or ssl_verify="
_NO_PROMPTS = "give the prompt to ask()"

_REFUSED = {
    "acompletion": _NOT_OURS,
    "additional_drop_params": _NO_DROPPING,
    "audio": _NO_TOOLS,
    "cache": _NO_CACHE,
    "caching": _NO_CACHE,
    "client": _NO_CLIENTS,
    "context_window_fallback_dict": _NO_OTHER_MODEL,
    "custom_llm_provider": "name the provider in the model, as in 'openai/gpt-5-mini'",
    "drop_params": _NO_DROPPING,
    "enable_json_schema_validation": "use schema=, which is always checked",
    "fallbacks": _NO_OTHER_MODEL,
    "force_timeout": _NO_TIMEOUTS,
    "function_call": _NO_TOOLS,
    "functions": _NO_TOOLS,
    "http_client": _NO_CLIENTS,
    "input_cost_per_second": _NO_PRICES,
    "input_cost_per_token": _NO_PRICES,
    "logger_fn": _NOT_OURS,
    "max_retries": _NO_RETRIES,
    "messages": _NO_PROMPTS,
    "modalities": _NO_TOOLS,
    "model": "it is the first argument of LLM(...)",
    "model_list": _NO_OTHER_MODEL,
    "modify_params": _NO_DROPPING,
    "n": "use sample=0, 1, 2..., so that each answer has its own place in the cache",
    "num_retries": _NO_RETRIES,
    "output_cost_per_second": _NO_PRICES,
    "output_cost_per_token": _NO_PRICES,
    "parallel_tool_calls": _NO_TOOLS,
    "prompt": _NO_PROMPTS,
    "prompt_id": _NO_PROMPTS,
    "prompt_variables": _NO_PROMPTS,
    "request_timeout": _NO_TIMEOUTS,
    "response_format": "use schema= with a pydantic model",
    "retry_policy": _NO_RETRIES,
    "retry_strategy": _NO_RETRIES,
    "rpm": "use Budget(requests_per_minute=...)",
    "shared_session": _NO_CLIENTS,
    "stream": "answers are read whole",
    "stream_options": "answers are read whole",
    "stream_timeout": _NO_TIMEOUTS,
    "tool_choice": _NO_TOOLS,
    "tools": _NO_TOOLS,
    "tpm": "use Budget(tokens=...)",
    "verbose": "configure the logging of Python",
}
_REFUSED_PREFIXES = {"mock_": _NO_MOCK, "litellm_": _NOT_OURS}


def split_params(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide parameters into those of the question and those of the connection.

    What is unknown counts as part of the question, so that two different requests never share an
    answer; what looks like a secret counts as part of the connection, so that it is never kept.

    Args:
        params: The parameters of a client, by name.

    Returns:
        What decides the answer (`temperature`, `max_tokens`, `seed`...), and what `Connection`
        takes (`api_base`, `api_key`, `extra_headers`...).

    Raises:
        InvalidOptionError: If a parameter would break the client; says what to use instead.

    >>> split_params({"temperature": 0, "api_base": "http://localhost:8000/v1"})
    ({'temperature': 0}, {'api_base': 'http://localhost:8000/v1'})
    """
    answer, connection = {}, {}
    for name, value in params.items():
        _refuse(name)
        if is_connection_option(name, value):
            connection[name] = value
        else:
            _refuse_secrets_inside(name, value)
            answer[name] = value
    return answer, connection


def is_connection_option(name: str, value: Any) -> bool:
    """Return whether a parameter says how to reach the model, and not what it answers."""
    return name in _CONNECTION or name.startswith(_CONNECTION_PREFIXES) or is_secret(name, value)


def _refuse(name: str) -> None:
    instead = _REFUSED.get(name) or next(
        (hint for prefix, hint in _REFUSED_PREFIXES.items() if name.startswith(prefix)), None
    )
    if instead is not None:
        raise InvalidOptionError(f"{name} cannot be passed through to the model: {instead}")


def _refuse_secrets_inside(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        return
    for inner, text in value.items():
        if isinstance(text, str) and smells_of_secret(str(inner)):
            raise InvalidOptionError(
                f"{name}[{inner!r}] looks like a secret, and {name} is kept in the answer cache; "
                "pass it as api_key=, api_key_env= or extra_headers="
            )
        _refuse_secrets_inside(name, text)
