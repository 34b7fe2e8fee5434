"""Keeping to a budget, one request after the other and while others wait."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

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


def test_calls_run_out_even_if_nothing_was_billed():
    ledger = a_ledger(calls=2)
    ledger.release(ledger.reserve(Cost(5)))
    ledger.reserve(Cost(5))
    with pytest.raises(BudgetExceededError, match=r"allows 2 calls, 2 were sent.*Raise Budget\(c"):
        ledger.reserve(Cost(0))


@pytest.mark.parametrize("limit", ["calls", "tokens", "dollars"])
def test_a_budget_of_zero_allows_nothing(limit):
    with pytest.raises(BudgetExceededError, match=limit):
        a_ledger(**{limit: 0}).reserve(Cost(1, 0.01))


@pytest.mark.parametrize("limit", ["tokens", "dollars"])
def test_what_costs_nothing_fits_into_nothing(limit):
    ledger = a_ledger(**{limit: 0})
    ledger.settle(ledger.reserve(Cost(0, 0.0)), Cost(0, 0.0))
    assert ledger.spent.calls == 1


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


def test_the_name_of_the_budget_is_in_the_message():
    with pytest.raises(BudgetExceededError, match="the budget 'thesis' allows 0 calls"):
        a_ledger(calls=0, name="thesis").reserve(Cost())


def test_a_refused_request_leaves_no_trace():
    ledger = a_ledger(calls=5, tokens=10)
    with pytest.raises(BudgetExceededError):
        ledger.reserve(Cost(11))
    assert ledger.spent == Spending()


def test_tenths_of_dollars_add_up():
    ledger = a_ledger(dollars=0.3)
    for _ in range(3):
        ledger.settle(ledger.reserve(Cost(1, 0.1)), Cost(1, 0.1))
    assert ledger.spent.dollars == 0.3
    with pytest.raises(BudgetExceededError):
        ledger.reserve(Cost(1, 0.000001))


def test_more_than_the_worst_case_is_counted_as_it_is():
    ledger = a_ledger(tokens=100)
    ledger.settle(ledger.reserve(Cost(90)), Cost(150))
    assert ledger.spent.tokens == 150
    with pytest.raises(BudgetExceededError):
        ledger.reserve(Cost(0))


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


def test_what_was_never_sent_costs_no_call_and_no_turn():
    clock = Clock()
    ledger = a_ledger(clock=clock, calls=1, requests_per_minute=1)
    ledger.cancel(ledger.reserve(Cost(5)))
    assert ledger.spent == Spending()
    ledger.reserve(Cost(5))
    assert clock.slept == 0


# --- unknown prices -----------------------------------------------------------------------------


@pytest.mark.parametrize("price", [None, float("nan"), float("inf"), -1.0])
def test_a_limit_in_dollars_needs_a_price(price):
    ledger = a_ledger(dollars=5)
    with pytest.raises(InvalidOptionError, match=r"prices=\(dollars per million prompt tokens, "):
        ledger.reserve(Cost(10, price))
    assert ledger.spent == Spending()


def test_without_a_limit_in_dollars_no_price_is_needed():
    ledger = a_ledger(calls=2)
    ledger.settle(ledger.reserve(Cost(10, None)), Cost(5, None))
    ledger.settle(ledger.reserve(Cost(10, 1.0)), Cost(5, None))
    assert ledger.spent == Spending(calls=2, tokens=10, dollars=0.0)


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


def test_a_request_that_waits_is_refused_when_the_others_leave_too_little():
    def sleep(seconds):
        ledger.settle(first, Cost(30))

    ledger = Ledger(Budget(tokens=100), DictStore(), sleep=sleep)
    first = ledger.reserve(Cost(80))
    with pytest.raises(BudgetExceededError, match=r"100 tokens, 30 are spent .* up to 80;"):
        ledger.reserve(Cost(80))


def test_calls_are_refused_at_once_even_while_others_are_under_way():
    clock = Clock()
    ledger = a_ledger(calls=1, tokens=10, clock=clock)
    ledger.reserve(Cost(10))
    with pytest.raises(BudgetExceededError, match="calls"):
        ledger.reserve(Cost(10))
    assert clock.slept == 0


def test_all_who_wait_get_their_turn(store):
    ledger = Ledger(Budget(tokens=100), store)

    def ask(_):
        reservation = ledger.reserve(Cost(60))
        time.sleep(0.01)
        ledger.settle(reservation, Cost(5))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert ledger.spent == Spending(calls=8, tokens=40)


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


@posix
@pytest.mark.parametrize("stop", ["None", "threading.Event()"], ids=["plain", "event"])
def test_control_c_ends_a_wait_in_the_main_thread(stop):
    program = (
        "import threading\n"
        "from llm_wrappers.llm.budget import Budget\n"
        "from llm_wrappers.llm.ledger import Ledger\n"
        "from llm_wrappers.llm.cache.sqlite_store import SqliteStore\n"
        "from llm_wrappers.llm.transport import Cost\n"
        "ledger = Ledger(Budget(requests_per_minute=1), SqliteStore(':memory:'))\n"
        "ledger.reserve(Cost())\n"
        "print('waiting', flush=True)\n"
        "try:\n"
        f"    ledger.reserve(Cost(), stop={stop})\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', ledger.spent.in_flight)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert out == "interrupted 1\n", err


# --- requests per minute ------------------------------------------------------------------------


def test_requests_wait_for_their_turn():
    clock = Clock()
    ledger = a_ledger(requests_per_minute=5, clock=clock)
    starts = []
    for _ in range(23):
        ledger.settle(ledger.reserve(Cost()), Cost())
        starts.append(clock.now)
    assert most_in_a_minute(starts) == 5
    assert clock.slept == pytest.approx(4 * 60, abs=1)
    assert ledger.spent.calls == 23


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


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(-5, 5)), min_size=1, max_size=30))
@settings(deadline=None)
def test_small_jumps_of_the_clock_cost_little(steps):
    real, shift = Clock(), 0.0

    def clock():
        return real.now + shift

    ledger = Ledger(Budget(requests_per_minute=3), DictStore(), clock=clock, sleep=real.sleep)
    starts = []
    for gap, jump in steps:
        real.now += gap
        shift += jump
        slept = real.slept
        ledger.settle(ledger.reserve(Cost()), Cost())
        assert real.slept - slept <= 60 + 5 * len(steps)
        starts.append(real.now)
    shortest = 60 - sum(max(0.0, jump) for _, jump in steps)
    for start, later in zip(starts, starts[3:], strict=False):
        assert later - start >= shortest - 0.01


def test_a_clock_that_was_an_hour_ahead_does_not_stop_anybody_for_an_hour():
    clock = Clock()
    ledger = a_ledger(requests_per_minute=2, clock=clock)
    clock.now += 3600
    for _ in range(2):
        ledger.settle(ledger.reserve(Cost()), Cost())
    clock.now -= 3600
    ledger.reserve(Cost())
    assert 59 < clock.slept < 61


def test_the_turn_is_that_of_all_who_share_the_budget(store):
    clock = Clock()
    ledgers = [a_ledger(store, clock, requests_per_minute=2, name="thesis") for _ in range(3)]
    for ledger in ledgers:
        ledger.settle(ledger.reserve(Cost()), Cost())
    assert clock.slept > 59
