"""The brake: one switch that keeps a whole run, its workers included, from asking models."""

from __future__ import annotations

import os
from types import TracebackType

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError, RequestsNotAllowedError

__all__ = ["VARIABLE", "allow_requests", "check_requests_allowed", "requests_allowed"]

VARIABLE = "LLM_WRAPPERS_ALLOW_REQUESTS"
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})


def allow_requests(allowed: bool) -> _Restore:
    """Allow or forbid requests to language models, in this process and those it starts from now on.

    The switch is the environment variable `LLM_WRAPPERS_ALLOW_REQUESTS`, so that workers inherit it
    however they are started. Answers from a cache are not affected.

    Args:
        allowed: Whether requests may be sent.

    Returns:
        A context manager that restores what was before; ignore it to leave the switch as set.

    Raises:
        InvalidOptionError: If `allowed` is no boolean.

    >>> with allow_requests(False):
    ...     requests_allowed()
    False
    """
    checks.flag("allowed", allowed)
    restore = _Restore(os.environ.get(VARIABLE))
    os.environ[VARIABLE] = "1" if allowed else "0"
    return restore


def requests_allowed() -> bool:
    """Return whether requests may be sent; they may unless something forbids them.

    Raises:
        InvalidOptionError: If the environment variable holds neither a yes nor a no.
    """
    value = os.environ.get(VARIABLE, "").strip().lower()
    if value and value not in _YES | _NO:
        raise InvalidOptionError(
            f"expected the environment variable {VARIABLE} to be one of {sorted(_YES)} or "
            f"{sorted(_NO)}, got {os.environ[VARIABLE]!r}; correct or unset it"
        )
    return value not in _NO


def check_requests_allowed(what: str) -> None:
    """Raise unless requests may be sent.

    Args:
        what: Model and beginning of the prompt, for the message.

    Raises:
        RequestsNotAllowedError: If the brake is on.

    >>> with allow_requests(False):
    ...     check_requests_allowed("openai/gpt-5-mini with 'Where is water?'")
    Traceback (most recent call last):
        ...
    llm_wrappers.errors.RequestsNotAllowedError: requests to language models are switched off ...
    """
    if not requests_allowed():
        raise RequestsNotAllowedError(
            f"requests to language models are switched off ({VARIABLE}={os.environ[VARIABLE]}), so "
            f"this one was not sent: {what}. Use recorded answers (cache=..., mode='replay'), or "
            f"allow requests with allow_requests(True) or {VARIABLE}=1"
        )


class _Restore:
    def __init__(self, before: str | None) -> None:
        self._before = before

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = self._before
