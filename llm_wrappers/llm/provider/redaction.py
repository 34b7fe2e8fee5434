"""Knowing secrets by name or value, and keeping them out of texts and logs."""

from __future__ import annotations

import json
import logging
import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any
from urllib.parse import quote

__all__ = ["Secrets", "divide", "is_secret", "redacted_logs", "smells_of_secret"]

_REPLACEMENT = "[secret]"
_SHORTEST = 6  # Our choice; replacing shorter values would tear holes into ordinary text.
_WORDS = re.compile(r"[^a-z0-9]+")
_SCHEME = re.compile(r"\s*(bearer|basic|token|key)\s+", re.IGNORECASE)
_SUSPECT = (
    "key", "keys", "token", "secret", "secrets", "password", "passwd", "passphrase", "credential",
    "credentials", "header", "headers", "auth", "authorization", "cookie",
)  # fmt: skip
_HARMLESS = frozenset({
    "api_key_env", "bos_token", "eos_token", "mask_token", "pad_token", "prompt_cache_key",
    "stop_token", "unk_token",
})  # fmt: skip
# Headers that tell who asks or which dialect is spoken; any other may hold a secret.
_HARMLESS_HEADERS = frozenset({
    "accept", "anthropic-beta", "anthropic-version", "content-type", "http-referer", "openai-beta",
    "referer", "user-agent", "x-title",
})  # fmt: skip


def smells_of_secret(name: str) -> bool:
    """Return whether an option or variable of this name is likely to hold a secret."""
    lowered = name.lower()
    return lowered not in _HARMLESS and any(
        word.endswith(_SUSPECT) for word in _WORDS.split(lowered)
    )


def is_secret(name: str, value: Any) -> bool:
    """Return whether an option is to be kept secret: a suspect name, and text in its value."""
    return smells_of_secret(name) and any(True for _ in _texts(value))


def divide(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide options into those that may be seen and those that may not.

    Headers are divided one by one.
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
    """Values that must not be seen, with those of the environment; replaces them in texts."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self._texts = frozenset(text for value in values for text in _texts(value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._texts)} values)"

    def redact(self, text: str) -> str:
        """Return a text without secrets."""
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


# A context variable, because litellm logs from threads of its own, to which it copies the context.
_secrets: ContextVar[Secrets | None] = ContextVar("llm_wrappers_secrets", default=None)


@contextmanager
def redacted_logs(secrets: Secrets) -> Iterator[None]:
    """Redact what is logged inside, whoever logs it.

    Done where records are made, because the libraries below make loggers as they go, and a filter
    would have to be on each of them. Records made elsewhere are left alone.
    """
    _install()
    token = _secrets.set(secrets)
    try:
        yield
    finally:
        _secrets.reset(token)


class _RedactingFactory:
    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        secrets = _secrets.get()
        if secrets is not None:
            _redact_message(record, secrets)
            _redact_exception(record, secrets)
        return record


def _install() -> None:
    make = logging.getLogRecordFactory()
    if not isinstance(make, _RedactingFactory):
        logging.setLogRecordFactory(_RedactingFactory(make))


def _redact_message(record: logging.LogRecord, secrets: Secrets) -> None:
    try:
        message = record.getMessage()
    except Exception:
        message = f"a log record that cannot be formatted: {record.msg!r} {record.args!r}"
    seen = f"{message}{record.args!r}"
    if secrets.redact(seen) != seen:
        record.msg, record.args = secrets.redact(message), ()


def _redact_exception(record: logging.LogRecord, secrets: Secrets) -> None:
    if not record.exc_info or record.exc_info[0] is None:
        return
    text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
    if secrets.redact(text) != text:
        record.exc_info, record.exc_text = None, secrets.redact(text)
