"""Keeping to a budget, exactly, across threads and processes."""

from __future__ import annotations

import math
import os
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from llm_wrappers.errors import BudgetExceededError, InvalidOptionError
from llm_wrappers.llm import budget as account
from llm_wrappers.llm.budget import Budget, Decision, Spending
from llm_wrappers.llm.cache.store import AnswerStore, State
from llm_wrappers.llm.transport import Cost

__all__ = ["Ledger", "Reservation", "Spending"]

_IN_MEMORY = ":memory:"
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.5


@dataclass(frozen=True)
class Reservation:
    """The leave to send one request."""

    name: str
    worst: Cost


class Ledger:
    """The account of a budget, kept in the answer cache.

    A request is reserved at the most that it can cost before it is sent, and settled at what it
    has cost afterwards. One that is never settled, because its process died, counts as spent at its
    most after `lease` seconds: a quarter of an hour (our choice), or longer than a request may
    take. A ledger of an unlimited budget writes nothing.
    """

    def __init__(
        self,
        budget: Budget,
        store: AnswerStore,
        *,
        lease: float = 900.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not lease > 0:
            raise InvalidOptionError(f"expected lease as seconds > 0, got {lease!r}")
        self.budget = budget
        self.lease = lease
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._account = f"budget:{budget.name or uuid.uuid4().hex}"
        self._process = os.getpid()

    def reserve(self, worst: Cost, *, stop: threading.Event | None = None) -> Reservation:
        """Wait until a request may be sent, and note that it will be.

        It waits while the request fits only after others, which are under way, turn out cheaper
        than they might, and for its turn within the requests per minute.
        """
        if self.budget.unlimited:
            return Reservation("", worst)
        if self.budget.dollars is not None and not _is_known(worst.dollars):
            raise _no_price()
        name = uuid.uuid4().hex
        pause = _FIRST_PAUSE
        while True:
            if stop is not None and stop.is_set():
                raise CancelledError
            decision = self._decide(name, worst)
            if decision.verdict == "granted":
                return Reservation(name, worst)
            if decision.verdict == "never":
                raise self._exceeded(decision, worst)
            self._wait(min(decision.seconds or pause, _LONGEST_PAUSE), stop)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def settle(self, reservation: Reservation, actual: Cost) -> None:
        """Count what a request has cost.

        Where there is a limit in dollars and the price is unknown, the most that it could cost
        counts. A reservation ends once: what comes later, or after others have seen its lease run
        out, changes nothing.
        """
        dollars = actual.dollars if _is_known(actual.dollars) else None
        at_most = dollars is None and self.budget.dollars is not None
        units = None if at_most else account.in_units(dollars)
        name, tokens = reservation.name, actual.tokens
        self._end(
            reservation, lambda state: account.settle(state, name, tokens=tokens, units=units)
        )

    def release(self, reservation: Reservation) -> None:
        """End a request that was sent and not billed: it stays counted as a call."""
        name = reservation.name
        self._end(reservation, lambda state: account.settle(state, name, tokens=0, units=0))

    def cancel(self, reservation: Reservation) -> None:
        """End a request that was never sent, as if it had not been reserved."""
        self._end(reservation, lambda state: account.cancel(state, reservation.name))

    @property
    def spent(self) -> Spending:
        """What is spent by all who share the account; nothing if the budget is unlimited."""
        if self.budget.unlimited:
            return Spending()
        return self._store.transact(
            self._account,
            lambda state: account.spending(state, now=self._clock(), lease=self.lease),
        )

    def _decide(self, name: str, worst: Cost) -> Decision:
        self._check_process()

        def change(state: State) -> Decision:
            # The clock is read here because others may hold the account for a while.
            now = self._clock()
            return account.decide(state, self.budget, worst, name=name, now=now, lease=self.lease)

        return self._store.transact(self._account, change)

    def _end(self, reservation: Reservation, change: Callable[[State], None]) -> None:
        if reservation.name:
            self._store.transact(self._account, change)

    def _wait(self, seconds: float, stop: threading.Event | None) -> None:
        if stop is None:
            self._sleep(seconds)
        else:
            stop.wait(seconds)

    def _exceeded(self, decision: Decision, worst: Cost) -> BudgetExceededError:
        limit, spent = decision.limit, decision.spending
        allowed = getattr(self.budget, limit)
        whose = f"the budget {self.budget.name!r}" if self.budget.name else "the budget"
        if limit == "calls":
            return BudgetExceededError(
                f"{whose} allows {allowed} calls, {spent.calls} were sent (retries included); "
                "nothing was sent now. Raise Budget(calls=...), or ask what the cache can answer"
            )
        used, most = getattr(spent, limit), getattr(worst, limit)
        return BudgetExceededError(
            f"{whose} allows {allowed:,} {limit}, {used:,} are spent and this request can cost up "
            f"to {most:,}; nothing was sent. Set max_tokens lower, or raise Budget({limit}=...)"
        )

    @property
    def _is_private(self) -> bool:
        return not self.budget.unlimited and self._store.location == _IN_MEMORY

    def _check_process(self) -> None:
        if self._is_private and os.getpid() != self._process:
            raise _not_shared()

    def __copy__(self) -> Ledger:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Ledger:
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Each of N workers would have the whole budget for itself, N budgets together.
        if self._is_private:
            raise _not_shared()
        return vars(self)


def _is_known(dollars: float | None) -> bool:
    return dollars is not None and math.isfinite(dollars) and dollars >= 0


def _no_price() -> InvalidOptionError:
    return InvalidOptionError(
        "a budget in dollars needs the price of the model, and nobody knows it: give prices="
        "(dollars per million prompt tokens, per million completion tokens), or limit tokens or "
        "calls instead"
    )


def _not_shared() -> InvalidOptionError:
    return InvalidOptionError(
        "a budget cannot be shared with another process while answers are kept in memory only: "
        "give the client a cache file, so that all processes share one budget"
    )
