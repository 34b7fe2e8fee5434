"""Knowing secrets by name or value, and keeping them out of texts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote

__all__ = ["Secrets", "divide", "is_secret", "smells_of_secret"]

_REPLACEMENT = "[secret]"
_SHORTEST = 6  # Our choice; replacing shorter values would tear holes into ordinary text.
_WORDS = re.compile(r"[^a-z0-9]+")
_SCHEME = re.compile(r"\s*(bearer|basic|token|key)\s+", re.IGNORECASE)
_SUSPECT = (
    "key",
    "keys",
    "token",
    "secret",
    "secrets",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "credentials",
    "header",
    "headers",
    "auth",
    "authorization",
    "cookie",
)
_HARMLESS = frozenset(
    {
        "api_key_env",
        "bos_token",
        "eos_token",
        "mask_token",
        "pad_token",
        "prompt_cache_key",
        "stop_token",
        "unk_token",
    }
)
# Headers that tell who asks or which dialect is spoken; any other may hold a secret.
_HARMLESS_HEADERS = frozenset(
    {
        "accept",
        "anthropic-beta",
        "anthropic-version",
        "content-type",
        "http-referer",
        "openai-beta",
        "referer",
        "user-agent",
        "x-title",
    }
)


def smells_of_secret(name: str) -> bool:
    """Return whether an option or variable of this name is likely to hold a secret.

    >>> [smells_of_secret(name) for name in ("aws_session_token", "x-api-key", "max_tokens")]
    [True, True, False]
    """
    lowered = name.lower()
    return lowered not in _HARMLESS and any(
        word.endswith(_SUSPECT) for word in _WORDS.split(lowered)
    )


def is_secret(name: str, value: Any) -> bool:
    """Return whether an option is to be kept secret: a suspect name, and a value with text in it.

    >>> is_secret("client_secret", "s3cr3t"), is_secret("stop_token_ids", [7, 8])
    (True, False)
    """
    return smells_of_secret(name) and any(True for _ in _texts(value))


def divide(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide options into those that may be seen and those that may not.

    Headers are divided one by one.

    >>> visible, hidden = divide({"extra_headers": {"X-Title": "Crafter", "X-Pass": "abc"}})
    >>> visible, hidden
    ({'extra_headers': {'X-Title': 'Crafter'}}, {'extra_headers': {'X-Pass': 'abc'}})
    """
    visible: dict[str, Any] = {}
    hidden: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping) and name.endswith("headers"):
            for header, text in value.items():
                side = visible if header.lower() in _HARMLESS_HEADERS else hidden
                side.setdefault(name, {})[header] = text
        else:
            (hidden if is_secret(name, value) else visible)[name] = value
    return visible, hidden


class Secrets:
    """Values that must not be seen, with those of the environment; replaces them in texts.

    Args:
        values: The secrets, possibly inside dicts and lists.
    """

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self._texts = frozenset(text for value in values for text in _texts(value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._texts)} values)"

    def redact(self, text: str) -> str:
        """Return a text without secrets.

        >>> Secrets(["sk-123456"]).redact("Incorrect API key: sk-123456")
        'Incorrect API key: [secret]'
        """
        for form in self._forms:
            text = text.replace(form, _REPLACEMENT)
        return text

    @cached_property
    def _forms(self) -> list[str]:
        """How the secrets may be spelled; the longest first, because one may contain another."""
        texts = {*self._texts, *_texts_of_environment()}
        # A header is more than its key: "Bearer sk-...".
        parts = {part for text in texts for part in (text, text.strip(), _SCHEME.sub("", text))}
        forms = {
            form
            for part in parts
            if len(part) >= _SHORTEST
            for form in (part, quote(part, safe=""), json.dumps(part)[1:-1], repr(part)[1:-1])
        }
        return sorted(forms, key=len, reverse=True)


def _texts_of_environment() -> Iterator[str]:
    return (value for name, value in os.environ.items() if smells_of_secret(name))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, bytes):
        yield value.decode(errors="replace")
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _texts(inner)
