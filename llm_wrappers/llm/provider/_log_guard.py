"""Keeping secrets out of what is logged while a request is under way."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from llm_wrappers.llm.provider._redaction import Secrets

__all__ = ["redacted_logs"]

# A context variable, because litellm logs from threads of its own, to which it copies the context.
_secrets: ContextVar[Secrets | None] = ContextVar("llm_wrappers_secrets", default=None)


@contextmanager
def redacted_logs(secrets: Secrets) -> Iterator[None]:
    """Redact what is logged inside, whoever logs it.

    Done where records are made, because the libraries below make loggers as they go, and a filter
    would have to be on each of them. Records made elsewhere are left alone.

    Args:
        secrets: What must not be logged, besides the secrets of the environment.
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
