"""Talking with the model about one question: budget, retries, repair turns."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel

from llm_wrappers.errors import InvalidAnswerError, ProviderError
from llm_wrappers.llm._questions import TypedRequest
from llm_wrappers.llm.answer import Completion
from llm_wrappers.llm.ledger import Ledger, Reservation
from llm_wrappers.llm.request import Message, Request
from llm_wrappers.llm.structured import repair_message, schema_instructions
from llm_wrappers.llm.transport import Cost, Transport

__all__ = ["Exchange", "Line", "call_with_retries"]

Result = TypeVar("Result")

# Our choices: 0.5 s, 1 s, 2 s... up to 30 s; a provider may ask for up to two minutes.
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_LONGEST_RETRY_AFTER = 120.0
_JITTER = 0.25
# Ctrl-C cannot end a wait on Windows before the wait is over.
_SLICE = 0.5

_logger = logging.getLogger("llm_wrappers.llm")


def call_with_retries(
    call: Callable[[], Result],
    *,
    retries: int,
    stop: threading.Event | None = None,
) -> Result:
    """Call, and call again after failures that may pass.

    Waits twice as long each time, with jitter so that many workers do not come back at once, and
    at least as long as the provider asks for (at most two minutes). The global random state is
    left alone, because a run must not depend on how busy a provider was.
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


@dataclass(frozen=True)
class Line:
    """What all exchanges of a client have in common."""

    transport: Transport
    ledger: Ledger
    places: threading.BoundedSemaphore
    retries: int
    repairs: int


@dataclass
class Exchange:
    """One question put to the model, until its answer fits.

    `before_sending` is called when the budget has allowed a request, just before it goes out; what
    it raises keeps the request from going out, at no cost.
    """

    line: Line
    question: TypedRequest
    stop: threading.Event
    before_sending: Callable[[], None]
    turns: list[Completion] = field(default_factory=list)
    requests: int = 0

    def answer(self) -> BaseModel | None:
        """Ask until the answer fits, and return the structured answer, if one was asked for."""
        request, send_schema = self._first_turn()
        for repairs_left in range(self.line.repairs, -1, -1):
            completion = self._send(request, send_schema)
            self.turns.append(completion)
            try:
                return self._read(completion)
            except InvalidAnswerError as error:
                if not repairs_left or not self._is_worth_a_repair(completion):
                    raise
                request = _with_messages(request, *_repair_turn(completion.text, error))
        raise AssertionError("unreachable: the last turn returns or raises")

    def total(self) -> Completion:
        """Return the last answer, with the cost of all turns together."""
        prices = [turn.dollars for turn in self.turns if turn.dollars is not None]
        return self.turns[-1].model_copy(
            update={
                "prompt_tokens": sum(turn.prompt_tokens for turn in self.turns),
                "completion_tokens": sum(turn.completion_tokens for turn in self.turns),
                "dollars": sum(prices) if len(prices) == len(self.turns) else None,
                "seconds": sum(turn.seconds for turn in self.turns),
                "repairs": len(self.turns) - 1,
            }
        )

    def _first_turn(self) -> tuple[Request, bool]:
        request = self.question.request
        if request.answer_schema is None:
            return request, False
        if self.line.transport.supports_schema(request.model):
            return request, True
        instructions = schema_instructions(request.answer_schema)
        return _with_messages(request, {"role": "user", "content": instructions}), False

    def _send(self, request: Request, send_schema: bool) -> Completion:
        def attempt() -> Completion:
            return self._attempt(request, send_schema)

        return call_with_retries(attempt, retries=self.line.retries, stop=self.stop)

    def _attempt(self, request: Request, send_schema: bool) -> Completion:
        worst = self.line.transport.worst_case(request)
        # The place comes first: a reserved turn within the requests per minute is used at once.
        with self._place():
            reservation = self.line.ledger.reserve(worst, stop=self.stop)
            self._allow(reservation)
            self.requests += 1
            completion = self._complete(request, send_schema, reservation)
        self.line.ledger.settle(reservation, Cost(completion.tokens, completion.dollars))
        return completion

    @contextmanager
    def _place(self) -> Iterator[None]:
        while not self.line.places.acquire(timeout=_SLICE):
            if self.stop.is_set():
                raise CancelledError
        try:
            yield
        finally:
            self.line.places.release()

    def _allow(self, reservation: Reservation) -> None:
        try:
            if self.stop.is_set():
                raise CancelledError
            self.before_sending()
        except BaseException:
            self.line.ledger.cancel(reservation)
            raise

    def _complete(
        self, request: Request, send_schema: bool, reservation: Reservation
    ) -> Completion:
        ledger = self.line.ledger
        try:
            return self.line.transport.complete(request, send_schema=send_schema)
        except Exception as error:
            if isinstance(error, ProviderError) and error.maybe_billed:
                ledger.settle(reservation, reservation.worst)
            else:
                ledger.release(reservation)
            raise
        except BaseException:
            # Interrupted while the provider was at work: it may well charge for it.
            ledger.settle(reservation, reservation.worst)
            raise

    def _is_worth_a_repair(self, completion: Completion) -> bool:
        # No turn makes max_tokens larger.
        return self.question.schema is not None and not _ended_before_it_began(completion)

    def _read(self, completion: Completion) -> BaseModel | None:
        if _ended_before_it_began(completion):
            raise InvalidAnswerError(
                f"{completion.model or self.question.request.model} used up max_tokens before it "
                "said anything; allow more with max_tokens=, or less reasoning",
                text=completion.text,
            )
        try:
            return self.question.parse(completion.text)
        except InvalidAnswerError as error:
            if completion.finish_reason != "length":
                raise
            raise InvalidAnswerError(
                f"{error} (the answer was cut off at max_tokens: allow more)", text=completion.text
            ) from None


def _ended_before_it_began(completion: Completion) -> bool:
    return completion.finish_reason == "length" and not completion.text.strip()


def _repair_turn(text: str, error: InvalidAnswerError) -> list[Message]:
    request: Message = {"role": "user", "content": repair_message(error)}
    # Some providers refuse a turn that says nothing, and half a surrogate pair cannot be sent.
    said = text.encode(errors="replace").decode()
    return [{"role": "assistant", "content": said}, request] if said.strip() else [request]


def _with_messages(request: Request, *messages: Message) -> Request:
    return Request(**{**request.model_dump(), "messages": (*request.messages, *messages)})
