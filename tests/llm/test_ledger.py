"""Keeping to a budget, one request after the other and while others wait."""

import os
import threading
import time
from concurrent.futures import CancelledError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_doubles import Clock, DictStore, a_ledger, most_in_a_minute

from llm_wrappers.errors import BudgetExceededError, InvalidOptionError
from llm_wrappers.llm.budget import Budget
from llm_wrappers.llm.cache.sqlite_store import SqliteStore
from llm_wrappers.llm.ledger import Ledger, Spending
from llm_wrappers.llm.transport import Cost

posix = pytest.mark.skipif(os.name != "posix", reason="signals and forks as on POSIX")


@pytest.fixture(params=["double", "sqlite"])
def store(request, tmp_path):
    if request.param == "double":
        yield DictStore()
        return
    store = SqliteStore(tmp_path / "a.sqlite")
    yield store
    store.close()


# --- one after the other --------------------------------------------------------------------------


def test_what_is_spent_is_what_was_settled(store):
    ledger = Ledger(Budget(calls=3, tokens=1000, dollars=1), store)
    first = ledger.reserve(Cost(500, 0.5))
    assert ledger.spent == Spending(calls=1, tokens=0, dollars=0.0, in_flight=1)
    ledger.settle(first, Cost(120, 0.1))
    second = ledger.reserve(Cost(500, 0.5))
    ledger.settle(second, Cost(130, 0.2))
    assert ledger.spent == Spending(calls=2, tokens=250, dollars=0.3, in_flight=0)


def test_what_cannot_fit_is_refused_with_what_to_do():
    ledger = a_ledger(tokens=1000, dollars=0.5)
    ledger.settle(ledger.reserve(Cost(600, 0.1)), Cost(600, 0.1))
    with pytest.raises(BudgetExceededError) as refused:
        ledger.reserve(Cost(401, 0.1))
    assert str(refused.value) == (
        "the budget allows 1,000 tokens, 600 are spent and this request can cost up to 401; "
        "nothing was sent. Set max_tokens lower, or raise Budget(tokens=...)"
    )
    with pytest.raises(BudgetExceededError, match=r"0\.5 dollars, 0\.1 are spent .* up to 0\.41;"):
        ledger.reserve(Cost(1, 0.41))
    ledger.reserve(Cost(400, 0.4))


@pytest.mark.parametrize("end", ["settle", "release", "cancel"])
@pytest.mark.parametrize("again", ["settle", "release", "cancel"])
def test_a_reservation_ends_once(end, again):
    ledger = a_ledger(calls=5, tokens=100)
    reservation = ledger.reserve(Cost(50))

    def finish(how):
        ledger.settle(reservation, Cost(7)) if how == "settle" else getattr(ledger, how)(
            reservation
        )

    finish(end)
    spent = ledger.spent
    finish(again)
    assert ledger.spent == spent


# --- unknown prices -----------------------------------------------------------------------------


@pytest.mark.parametrize("price", [None, float("nan"), float("inf"), -1.0])
def test_a_limit_in_dollars_needs_a_price(price):
    ledger = a_ledger(dollars=5)
    with pytest.raises(InvalidOptionError, match=r"prices=\(dollars per million prompt tokens, "):
        ledger.reserve(Cost(10, price))
    assert ledger.spent == Spending()


def test_an_answer_without_a_price_counts_at_its_worst_case():
    ledger = a_ledger(dollars=5)
    ledger.settle(ledger.reserve(Cost(10, 2.0)), Cost(5, None))
    assert ledger.spent.dollars == 2.0


# --- waiting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "worst", "end"),
    [
        ({"tokens": 100}, Cost(80), lambda ledger, one: ledger.settle(one, Cost(20))),
        ({"tokens": 100}, Cost(80), lambda ledger, one: ledger.release(one)),
        ({"tokens": 100}, Cost(80), lambda ledger, one: ledger.cancel(one)),
        ({"dollars": 1}, Cost(1, 0.8), lambda ledger, one: ledger.settle(one, Cost(1, 0.2))),
    ],
    ids=["settled", "released", "cancelled", "dollars"],
)
def test_a_request_waits_for_others_that_may_turn_out_cheaper(limits, worst, end):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 10:
            end(ledger, first)

    ledger = Ledger(Budget(**limits), DictStore(), sleep=sleep)
    first = ledger.reserve(worst)
    ledger.reserve(worst)
    assert len(pauses) == 10
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] <= 0.1 < pauses[-1] <= 1


def test_a_wait_ends_when_it_is_told_to():
    ledger = Ledger(Budget(tokens=100), DictStore())
    ledger.reserve(Cost(80))
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    started = time.monotonic()
    with pytest.raises(CancelledError):
        ledger.reserve(Cost(80), stop=stop)
    assert time.monotonic() - started < 5
    assert ledger.spent.in_flight == 1
    with pytest.raises(CancelledError):
        ledger.reserve(Cost(1), stop=stop)


# --- requests per minute ------------------------------------------------------------------------


@given(
    st.integers(1, 6),
    st.lists(st.floats(0, 40), min_size=1, max_size=30),
)
@settings(deadline=None)
def test_no_minute_ever_has_more_requests_than_allowed(per_minute, gaps):
    clock = Clock()
    ledger = a_ledger(requests_per_minute=per_minute, clock=clock)
    starts = []
    for gap in gaps:
        clock.now += gap
        ledger.settle(ledger.reserve(Cost()), Cost())
        starts.append(clock.now)
    assert most_in_a_minute(starts) <= per_minute
