"""What is asked of a language model, and the key under which its answer is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, JsonValue, field_validator

from llm_wrappers.errors import InvalidOptionError

__all__ = ["Message", "Prompt", "Request", "as_messages", "canonical_json"]

Message: TypeAlias = "dict[str, Any]"
Prompt: TypeAlias = "str | Sequence[Mapping[str, Any]]"
"""A text for the user's turn, or a list of messages with `role` and `content`."""

_KEY_FORMAT = 1
_PREVIEW_LENGTH = 120


class Request(BaseModel):
    """One question to one model, complete enough to be asked again anywhere.

    Two requests with equal fields have the same `key`, whatever the order of their dicts; what
    says how to reach the model (address, API key, timeouts) is no part of a request. The key is
    our choice; no paper prescribes one.

    Args:
        model: The model, as litellm names it: ``"openai/gpt-5-mini"``.
        messages: The conversation, each message with `role` and `content`.
        params: What else decides the answer: temperature, max_tokens, seed and so on.
        answer_schema: The JSON schema of a structured answer; None for free text.
        sample: Which of several answers to the same prompt.
        prompt_version: The version of the prompt's template, for example its hash.

    >>> request = Request(model="openai/gpt-5-mini", messages=as_messages("Where is water?"))
    >>> request.preview
    'Where is water?'
    >>> len(request.key)
    64
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str
    messages: tuple[dict[str, JsonValue], ...]
    params: dict[str, JsonValue] = {}
    answer_schema: dict[str, JsonValue] | None = None
    sample: int = 0
    prompt_version: str = ""

    @field_validator("params")
    @classmethod
    def _whole_numbers_as_integers(cls, params: dict[str, JsonValue]) -> dict[str, JsonValue]:
        # A temperature of 1 and one of 1.0 are the same question.
        return {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in params.items()
        }

    @cached_property
    def text(self) -> str:
        """The request as canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @cached_property
    def key(self) -> str:
        """The SHA-256 of the canonical JSON, with the version of this rule."""
        return hashlib.sha256(f"{_KEY_FORMAT}:{self.text}".encode()).hexdigest()

    @property
    def preview(self) -> str:
        """The beginning of the last message, in one line, for messages to people."""
        content = self.messages[-1].get("content") if self.messages else ""
        line = " ".join((content if isinstance(content, str) else canonical_json(content)).split())
        return line if len(line) <= _PREVIEW_LENGTH else line[: _PREVIEW_LENGTH - 1] + "…"


def as_messages(prompt: Prompt) -> tuple[Message, ...]:
    """Return a prompt as messages.

    Raises:
        InvalidOptionError: If it is neither a text nor a list of messages with `role`.

    >>> as_messages("Hello")
    ({'role': 'user', 'content': 'Hello'},)
    """
    if isinstance(prompt, str):
        return ({"role": "user", "content": prompt},)
    is_list = isinstance(prompt, Sequence) and len(prompt) > 0
    if not is_list or not all(isinstance(m, Mapping) and "role" in m for m in prompt):
        raise InvalidOptionError(
            "expected a prompt that is a text, or a list of messages like "
            f"{{'role': 'user', 'content': '...'}}, got {prompt!r}"
        )
    return tuple(dict(message) for message in prompt)


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, ASCII, finite numbers.

    Raises:
        ValueError: If the value holds NaN or an infinity.
        TypeError: If it holds what JSON has no form for.

    >>> canonical_json({"b": 1, "a": [True, None]})
    '{"a":[true,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
