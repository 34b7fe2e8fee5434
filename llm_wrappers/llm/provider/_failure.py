"""Reading an exception of litellm: what is known of a failure, wherever in the chain it is said."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime

from llm_wrappers.llm.provider._redaction import Secrets

__all__ = ["Failure", "read_failure", "retry_after_of"]

_LONGEST_TEXT = 300
_LONGEST_WAIT = 24 * 3600.0  # Our choice; a clock that is wrong must not stop a run for years.
_PREFIX = re.compile(r"^(?:(?:litellm\.)?\w*(?:Error|Exception|Timeout)[:\s-]+)+")
# Advice of litellm that does not hold here, and tracebacks of its own.
_REST = re.compile(
    r"\s*(?:To drop |If you want to use these|Handle with `litellm|Traceback \(most recent).*", re.S
)


@dataclass(frozen=True)
class Failure:
    """What is known of a request that failed.

    Args:
        kinds: The names of all classes in the chain of exceptions, bases included.
        status: The HTTP status; None if no reply came.
        text: What the provider says, shortened and without secrets.
        details: All that it says, in lower case, to look for codes in; never shown.
        retry_after: The seconds that it asks to wait.
    """

    kinds: frozenset[str]
    status: int | None
    text: str
    details: str
    retry_after: float | None

    def is_a(self, *names: str) -> bool:
        """Return whether a class of one of these names is in the chain."""
        return not self.kinds.isdisjoint(names)

    def says(self, *phrases: str) -> bool:
        """Return whether the provider says one of these phrases."""
        return any(phrase in self.details for phrase in phrases)


def read_failure(error: BaseException, secrets: Secrets) -> Failure:
    """Return what an exception and those that it came from tell."""
    chain = list(_chain(error))
    kinds = frozenset(base.__name__ for link in chain for base in type(link).__mro__)
    replies = [link for link in chain if _is_reply(link)]
    reply = getattr(replies[-1], "response", None) if replies else None
    said = _REST.sub("", _PREFIX.sub("", str(error)))
    headers = getattr(error, "litellm_response_headers", None) or getattr(reply, "headers", None)
    return Failure(
        kinds=kinds,
        status=getattr(reply, "status_code", None) or _claimed_status(error, kinds),
        text=_shortened(secrets.redact(_message(said))),
        details=f"{said} {getattr(error, 'body', '')}".lower(),
        retry_after=retry_after_of(headers or {}),
    )


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait that a reply asks for, at most a day; None if it does not ask.

    >>> retry_after_of({"Retry-After": "2"}), retry_after_of({})
    (2.0, None)
    """
    lowered = {str(name).lower(): str(value) for name, value in headers.items()}
    seconds = _number(lowered.get("retry-after-ms"))
    if seconds is not None:
        seconds /= 1000
    elif "retry-after" in lowered:
        seconds = _number(lowered["retry-after"])
        if seconds is None:
            seconds = _seconds_until(lowered["retry-after"])
    return None if seconds is None else min(max(seconds, 0.0), _LONGEST_WAIT)


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _is_reply(link: BaseException) -> bool:
    # Other exceptions of litellm bring a response as well, one that it made up.
    names = {base.__name__ for base in type(link).__mro__}
    return not names.isdisjoint({"HTTPStatusError", "APIStatusError"}) and not (
        type(link).__module__.startswith("litellm.exceptions")
    )


def _claimed_status(error: BaseException, kinds: frozenset[str]) -> int | None:
    # litellm says 500 for whatever it met on the way, and 408 for its own timeouts.
    status = getattr(error, "status_code", None)
    if status == 500 or kinds & {"TransportError", "APIConnectionError", "JSONDecodeError"}:
        return None
    return status if isinstance(status, int) else None


def _message(said: str) -> str:
    try:
        body = json.loads(said)
        said = body["error"]["message"]
    except (ValueError, LookupError, TypeError):
        pass
    return " ".join(str(said).split()).rstrip(". ")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds_until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp() - time.time()
