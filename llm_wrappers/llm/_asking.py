"""One question's way through memory, claim, model and cache."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
import weakref
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, NoReturn

from llm_wrappers import errors
from llm_wrappers.errors import CacheMissError, InvalidAnswerError, InvalidRequestError
from llm_wrappers.llm._exchange import Exchange, Line
from llm_wrappers.llm._questions import TypedRequest
from llm_wrappers.llm.answer import Answer, Completion
from llm_wrappers.llm.cache.store import AnswerStore, Failure, Record
from llm_wrappers.llm.usage import UsageMeter

__all__ = ["Asker", "Recall"]


class Recall:
    """Finds recorded answers in the store, and keeps new ones there.

    In the mode ``"off"`` it finds nothing, and in ``"refresh"`` only what this client has asked for
    itself.
    """

    def __init__(self, store: AnswerStore, meter: UsageMeter, *, mode: str) -> None:
        self._store = store
        self._meter = meter
        self._mode = mode
        self._renewed: set[str] = set()

    def answer(self, question: TypedRequest, purpose: str) -> Answer[Any] | None:
        """Return the recorded answer of a question, or None; a hit is counted as one."""
        completion = self.completion(question.key)
        if completion is None:
            return None
        try:
            parsed = question.parse(completion.text)
        except InvalidAnswerError as error:
            # The schema has equal JSON but a stricter validator than when this was recorded.
            if self._mode != "replay":
                return None
            raise InvalidAnswerError(
                f"{error}\nIt was recorded in {self._store.location} for "
                f"{question.request.preview!r}; mode='record' asks for one that fits",
                text=error.text,
            ) from None
        self._meter.record_hit(purpose)
        return Answer(completion, key=question.key, parsed=parsed, cached=True)

    def completion(self, key: str) -> Completion | None:
        """Return the recorded answer of a key that may be used in this mode, or None."""
        if self._mode == "off" or (self._mode == "refresh" and key not in self._renewed):
            return None
        record = self._store.get(key)
        return None if record is None else record.completion

    def keep(self, record: Record, *, replace: bool) -> Completion:
        """Record an answer for good, and return the one that stands."""
        if self._mode == "off":
            return record.completion
        standing = self._store.put(record, replace=replace or self._mode == "refresh")
        if self._mode == "refresh":
            self._renewed.add(record.key)
        return standing.completion


_FIRST_LOOK_AFTER = 0.02
_LOOK_AT_LEAST_EVERY = 0.5
_SAY_AFTER = 10.0

_logger = logging.getLogger("llm_wrappers.llm")


class _Overtaken(Exception):
    """Somebody else answered the question, or began to ask it, while this asker waited."""


class Asker:
    """Asks the model what the cache does not hold; each question by one asker at a time."""

    def __init__(
        self,
        line: Line,
        *,
        store: AnswerStore,
        recall: Recall,
        meter: UsageMeter,
        mode: str,
        remember_failures: float,
        lease_seconds: float,
    ) -> None:
        self._line = line
        self._store = store
        self._recall = recall
        self._meter = meter
        self._mode = mode
        self._remember_failures = remember_failures
        self._lease_seconds = lease_seconds
        self._has_said_to_wait = False
        self._claims: dict[str, str] = {}
        # Others need not wait for a process that ended while its threads were asking.
        weakref.finalize(self, _release_all, store, self._claims, os.getpid())

    def answer(
        self, question: TypedRequest, purpose: str, stop: threading.Event | None = None
    ) -> Answer[Any]:
        """Return the answer of the model, or of somebody who asks the same at this moment."""
        stop = stop or threading.Event()
        if self._mode == "replay":
            self.refuse_replay([question])
        if self._mode == "off":
            return self._ask(question, purpose, stop, owner=None)
        owner = uuid.uuid4().hex
        self._claims[owner] = question.key
        try:
            return self._find_or_ask(question, purpose, stop, owner)
        finally:
            self._store.release(question.key, owner=owner)
            del self._claims[owner]

    def refuse_replay(self, missing: list[TypedRequest]) -> NoReturn:
        """Raise the error for questions that replay cannot answer."""
        first = missing[0].request
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CacheMissError(
            f"mode='replay' and no recorded answer in {self._store.location} for "
            f"{first.preview!r} (model {first.model}, key {first.key[:12]}){others}; record it "
            "with mode='record', or check that model, parameters, schema and prompt version are "
            "those of the recording"
        )

    def _find_or_ask(
        self, question: TypedRequest, purpose: str, stop: threading.Event, owner: str
    ) -> Answer[Any]:
        while True:
            found = self._claim_or_find(question, purpose, stop, owner)
            if found is not None:
                return found
            try:
                return self._ask(question, purpose, stop, owner)
            except _Overtaken:
                continue

    def _claim_or_find(
        self, question: TypedRequest, purpose: str, stop: threading.Event, owner: str
    ) -> Answer[Any] | None:
        pause = _FIRST_LOOK_AFTER
        say_after = time.monotonic() + _SAY_AFTER
        while True:
            self._raise_remembered(question)
            claimed = self._claim(question, owner)
            found = self._recall.answer(question, purpose)
            if found is not None or claimed:
                return found
            if stop.wait(pause):
                raise CancelledError
            if time.monotonic() > say_after and not self._has_said_to_wait:
                self._has_said_to_wait = True
                _logger.warning(
                    "waiting for somebody else who is asking %r; if that process was killed, it is "
                    "asked again here after at most %.0f s",
                    question.request.preview,
                    self._lease_seconds,
                )
            pause = min(2 * pause, _LOOK_AT_LEAST_EVERY)

    def _ask(
        self, question: TypedRequest, purpose: str, stop: threading.Event, owner: str | None
    ) -> Answer[Any]:
        # A record that is there although it was not used no longer fits the schema's validators.
        replace = self._recall.completion(question.key) is not None

        def before_sending() -> None:
            if owner is None:
                return
            answered = not replace and self._recall.completion(question.key) is not None
            # The wait for a place and for the budget can outlast a claim.
            if answered or not self._claim(question, owner):
                raise _Overtaken

        exchange = Exchange(self._line, question, stop, before_sending)
        started = time.monotonic()
        try:
            parsed = exchange.answer()
        except BaseException as error:
            gave_way = isinstance(error, _Overtaken | CancelledError)
            self._count(exchange, purpose, started, failed=not gave_way)
            self._remember(question, error)
            raise
        self._count(exchange, purpose, started, failed=False)
        fresh = Record(request=question.request, completion=exchange.total(), created=time.time())
        standing = self._recall.keep(fresh, replace=replace)
        if standing.text != fresh.completion.text:
            parsed = question.parse(standing.text)
        return Answer(standing, question.key, parsed)

    def _claim(self, question: TypedRequest, owner: str) -> bool:
        return self._store.claim(question.key, owner=owner, seconds=self._lease_seconds)

    def _count(self, exchange: Exchange, purpose: str, started: float, *, failed: bool) -> None:
        self._meter.record(
            purpose,
            exchange.turns,
            requests=exchange.requests,
            failed=failed,
            seconds=time.monotonic() - started,
        )

    def _raise_remembered(self, question: TypedRequest) -> None:
        failure = None if self._mode == "refresh" else self._store.failure(question.key)
        if failure is None:
            return
        left = max(1, round(failure.expires - time.time()))
        kind = getattr(errors, failure.kind, InvalidAnswerError)
        raise kind(
            f"{failure.message} (remembered: this question failed before and is not asked again "
            f"for {left} s; mode='refresh' asks now)"
        )

    def _remember(self, question: TypedRequest, error: BaseException) -> None:
        hopeless = isinstance(error, InvalidAnswerError | InvalidRequestError)
        if not hopeless or self._mode == "off" or not self._remember_failures:
            return
        failure = Failure(
            kind=type(error).__name__,
            message=str(error),
            preview=question.request.preview,
            expires=time.time() + self._remember_failures,
        )
        self._store.put_failure(question.key, failure)


def _release_all(store: AnswerStore, claims: dict[str, str], process: int) -> None:
    if os.getpid() != process:
        return
    for owner, key in list(claims.items()):
        # At exit there is nobody left to tell; the claim then ends with its lease.
        with suppress(Exception):
            store.release(key, owner=owner)
