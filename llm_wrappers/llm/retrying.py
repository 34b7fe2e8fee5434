"""Sending a request again when the provider was overloaded or out of reach."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from llm_wrappers.errors import ProviderError

__all__ = ["call_with_retries"]

Result = TypeVar("Result")

# Our choices: 0.5 s, 1 s, 2 s... up to 30 s; a provider may ask for up to two minutes.
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_LONGEST_RETRY_AFTER = 120.0
_JITTER = 0.25
# Ctrl-C cannot end a wait on Windows before the wait is over.
_SLICE = 0.5

_logger = logging.getLogger(__name__)


def call_with_retries(
    call: Callable[[], Result],
    *,
    retries: int,
    on_retry: Callable[[ProviderError, float], None] | None = None,
    stop: threading.Event | None = None,
) -> Result:
    """Call, and call again after failures that may pass.

    Waits twice as long each time, with jitter so that many workers do not come back at once, and
    at least as long as the provider asks for (at most two minutes). The global random state is
    left alone, because a run must not depend on how busy a provider was.

    Args:
        call: What to do; called once, and up to `retries` times more while it raises a
            `ProviderError` that is `transient`.
        retries: How often to try again.
        on_retry: Told of each failure and of the seconds until the next try.
        stop: When set, waiting ends and nothing is tried again.

    Raises:
        ProviderError: The last one, when there are no tries left.

    >>> failures = [ProviderError("overloaded", retry_after=0.01)]
    >>> def ask():
    ...     if failures:
    ...         raise failures.pop()
    ...     return "yes"
    >>> call_with_retries(ask, retries=1)
    'yes'
    """
    stop = stop or threading.Event()
    jitter = random.Random()
    for retry in range(retries):
        try:
            return call()
        except ProviderError as error:
            if not error.transient or stop.is_set():
                raise
            failure = error
        wait = _seconds_to_wait(failure, retry, jitter)
        _logger.info("trying again in %.1f s (%d of %d): %s", wait, retry + 1, retries, failure)
        if on_retry is not None:
            on_retry(failure, wait)
        if _stopped_while_waiting(stop, wait):
            raise failure
    return call()


def _seconds_to_wait(error: ProviderError, retry: int, jitter: random.Random) -> float:
    stretch = 1 + _JITTER * jitter.random()
    if error.retry_after is not None:
        return min(max(error.retry_after, 0.0), _LONGEST_RETRY_AFTER) * stretch
    return float(min(_FIRST_WAIT * 2**retry, _LONGEST_WAIT)) * stretch


def _stopped_while_waiting(stop: threading.Event, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if stop.wait(min(left, _SLICE)):
            return True
    return stop.is_set()
