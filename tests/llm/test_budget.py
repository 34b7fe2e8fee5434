"""What a budget accepts, and that it is kept: by all who wait, and by all who share it."""

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis_server import running_redis

from llm_wrappers.errors import BudgetExceededError, InvalidOptionError
from llm_wrappers.llm import budget as account
from llm_wrappers.llm.budget import Budget
from llm_wrappers.llm.cache.redis_store import RedisStore
from llm_wrappers.llm.cache.sqlite_store import SqliteStore
from llm_wrappers.llm.ledger import Ledger, Spending
from llm_wrappers.llm.transport import Cost


class DictStore:
    """The part of a store that a ledger uses, as plain as can be."""

    location = ":memory:"

    def __init__(self):
        self.documents = {}
        self.changes = 0
        self._lock = threading.Lock()

    def transact(self, name, change):
        with self._lock:
            self.changes += 1
            state = json.loads(self.documents.get(name, "{}"))
            result = change(state)
            self.documents[name] = json.dumps(state, allow_nan=False)
            return result


class Clock:
    """A clock that only goes on while somebody sleeps."""

    def __init__(self, now=1_700_000_000.0):
        self.now = now
        self.slept = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.slept += seconds
        self.now += seconds


def a_ledger(store=None, clock=None, lease=900.0, **limits):
    clock = clock or Clock()
    return Ledger(
        Budget(**limits), store or DictStore(), lease=lease, clock=clock, sleep=clock.sleep
    )


def most_in_a_minute(starts):
    return max(sum(0 <= other - start <= 60 for other in starts) for start in starts)


LIMITS = ("calls", "tokens", "dollars", "requests_per_minute")

budgets = st.builds(
    Budget,
    calls=st.none() | st.integers(0),
    tokens=st.none() | st.integers(0),
    dollars=st.none() | st.floats(0, 1e9),
    requests_per_minute=st.none() | st.integers(1),
)


@given(budgets)
@settings(deadline=None)
def test_a_budget_travels_as_a_pickle_and_as_json(budget):
    assert pickle.loads(pickle.dumps(budget)) == budget
    assert Budget(**json.loads(json.dumps(budget.as_dict()))) == budget
    assert hash(budget) == hash(Budget(**budget.as_dict()))


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize(
    "value", [-1, True, False, "5", float("nan"), float("inf"), [1], np.bool_(True), 1j],
    ids=repr,
)  # fmt: skip
def test_what_is_no_limit_is_refused(limit, value):
    with pytest.raises(InvalidOptionError, match=f"{limit} must be a .*, got "):
        Budget(**{limit: value})


def test_a_rate_of_zero_would_wait_for_ever():
    with pytest.raises(InvalidOptionError, match="requests_per_minute must be a whole number >= 1"):
        Budget(requests_per_minute=0)


@pytest.mark.parametrize("name", ["", "  ", 5, b"thesis", True], ids=repr)
def test_a_name_is_a_text(name):
    with pytest.raises(InvalidOptionError, match="name of a budget as a non-empty text"):
        Budget(calls=1, name=name)


def test_a_name_without_a_limit_would_do_nothing():
    with pytest.raises(InvalidOptionError, match="expected a limit for the budget named 'thesis'"):
        Budget(name="thesis")


posix = pytest.mark.skipif(os.name != "posix", reason="signals and forks as on POSIX")


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=["double", "memory", "sqlite", "redis"])
def store(request, tmp_path):
    if request.param == "double":
        yield DictStore()
        return
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        store = RedisStore(url, prefix=f"test:{tmp_path.name}:")
    else:
        store = SqliteStore(":memory:" if request.param == "memory" else tmp_path / "a.sqlite")
    yield store
    store.close()


REDIS = pytest.param("redis", marks=pytest.mark.slow)
shared = pytest.mark.parametrize("store", ["sqlite", REDIS], indirect=True)


# --- dead processes -----------------------------------------------------------------------------


def test_what_a_dead_process_reserved_counts_as_spent_after_the_lease():
    clock, store = Clock(), DictStore()
    dead = a_ledger(store, clock, lease=100, calls=9, tokens=100, dollars=1, name="thesis")
    dead.reserve(Cost(60, 0.5))
    clock.now += 99
    assert dead.spent == Spending(calls=1, in_flight=1)
    alive = a_ledger(store, clock, lease=100, calls=9, tokens=100, dollars=1, name="thesis")
    clock.now += 2
    with pytest.raises(BudgetExceededError, match="100 tokens, 60 are spent"):
        alive.reserve(Cost(41, 0.1))
    assert alive.spent == Spending(calls=1, tokens=60, dollars=0.5)


def test_a_killed_process_loses_no_money_and_blocks_nobody_for_ever(tmp_path):
    path = tmp_path / "answers.sqlite"
    program = (
        "import os, sys\n"
        "from llm_wrappers.llm.budget import Budget\n"
        "from llm_wrappers.llm.ledger import Ledger\n"
        "from llm_wrappers.llm.cache.sqlite_store import SqliteStore\n"
        "from llm_wrappers.llm.transport import Cost\n"
        "ledger = Ledger(Budget(tokens=100, name='thesis'), SqliteStore(sys.argv[1]))\n"
        "ledger.reserve(Cost(70))\n"
        "os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)]).returncode == 9
    ledger = Ledger(Budget(tokens=100, name="thesis"), SqliteStore(path))
    assert ledger.spent == Spending(calls=1, in_flight=1)
    ledger.settle(ledger.reserve(Cost(30)), Cost(30))
    later = Ledger(ledger.budget, SqliteStore(path), clock=lambda: time.time() + 1000)
    assert later.spent == Spending(calls=2, tokens=100)


# --- names, copies, threads and processes -------------------------------------------------------


def test_budgets_without_a_name_are_separate_and_those_with_one_are_not(store):
    for name, together in ((None, 1), ("thesis", 2)):
        ledgers = [Ledger(Budget(calls=9, name=name), store) for _ in range(2)]
        for ledger in ledgers:
            ledger.settle(ledger.reserve(Cost()), Cost())
        assert [ledger.spent.calls for ledger in ledgers] == [together] * 2


@shared
def test_a_pickled_ledger_shares_the_account(store):
    ledger = Ledger(Budget(calls=2), store)
    other = pickle.loads(pickle.dumps(ledger))
    ledger.reserve(Cost())
    other.reserve(Cost())
    assert other.spent == ledger.spent == Spending(calls=2, in_flight=2)


@pytest.mark.parametrize("store", ["double", "memory"], indirect=True)
def test_a_budget_in_memory_does_not_travel(store):
    with pytest.raises(InvalidOptionError, match="give the client a cache file"):
        pickle.dumps(Ledger(Budget(calls=2), store))


@posix
def test_a_budget_in_memory_does_not_multiply_in_forks():
    program = (
        "import os\n"
        "from llm_wrappers.errors import InvalidOptionError\n"
        "from llm_wrappers.llm.budget import Budget\n"
        "from llm_wrappers.llm.ledger import Ledger\n"
        "from llm_wrappers.llm.cache.sqlite_store import SqliteStore\n"
        "from llm_wrappers.llm.transport import Cost\n"
        "ledger = Ledger(Budget(calls=1), SqliteStore(':memory:'))\n"
        "free = Ledger(Budget(), SqliteStore(':memory:'))\n"
        "if os.fork():\n"
        "    os.wait()\n"
        "    ledger.reserve(Cost())\n"
        "else:\n"
        "    free.reserve(Cost())\n"
        "    try: ledger.reserve(Cost())\n"
        "    except InvalidOptionError as error: print(error, flush=True)\n"
        "    os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "give the client a cache file" in done.stdout


def test_without_a_limit_nothing_is_written():
    store = DictStore()
    ledger = Ledger(Budget(), store)
    ledger.settle(ledger.reserve(Cost(5, None)), Cost(5, None))
    ledger.release(ledger.reserve(Cost(5)))
    ledger.cancel(ledger.reserve(Cost(5)))
    assert ledger.spent == Spending()
    assert store.changes == 0


@shared
def test_threads_together_send_exactly_what_is_allowed(store):
    ledger = Ledger(Budget(calls=50), store)
    together = threading.Barrier(32)

    def attempt(number):
        if number < 32:
            together.wait()
        try:
            ledger.settle(ledger.reserve(Cost(2)), Cost(1))
        except BudgetExceededError:
            return 0
        return 1

    with ThreadPoolExecutor(32) as pool:
        granted = sum(pool.map(attempt, range(200)))
    assert granted == 50
    assert ledger.spent == Spending(calls=50, tokens=50)


def in_processes(function, ledger, number):
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(number)
    with ProcessPoolExecutor(number, context, initializer=together.wait) as pool:
        return list(pool.map(function, [ledger] * number))


def spend_all(ledger):
    granted = 0
    for _ in range(60):
        try:
            reservation = ledger.reserve(Cost(3, 0.01))
        except BudgetExceededError:
            continue
        granted += 1
        ledger.settle(reservation, Cost(2, 0.01))
    return granted


@shared
def test_processes_together_send_exactly_what_is_allowed(store):
    ledger = Ledger(Budget(calls=100, dollars=5), store)
    assert sum(in_processes(spend_all, ledger, 4)) == 100
    assert ledger.spent == Spending(calls=100, tokens=200, dollars=1.0)


class NotYetError(Exception):
    pass


def not_now(seconds):
    raise NotYetError


def start_all(ledger):
    granted = 0
    with suppress(NotYetError):
        for _ in range(20):
            ledger.settle(ledger.reserve(Cost()), Cost())
            granted += 1
    return granted


@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_processes_together_keep_to_the_requests_per_minute(store):
    ledger = Ledger(Budget(requests_per_minute=12), store, sleep=not_now)
    assert sum(in_processes(start_all, ledger, 3)) == 12


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


cents = st.integers(0, 40).map(lambda number: number / 100)
limits_of_any_kind = st.builds(
    Budget,
    calls=st.integers(0, 12) | st.none(),
    tokens=st.integers(0, 100) | st.none(),
    dollars=cents,
    requests_per_minute=st.integers(1, 4) | st.none(),
)
reservations = st.tuples(st.just("reserve"), st.integers(0, 60), cents)
shares = st.floats(0, 1)
endings = st.tuples(
    st.sampled_from(["settle", "release", "cancel", "forget"]), st.integers(0, 9), shares
)
waits = st.tuples(st.just("wait"), st.floats(0, 45), st.none())
LEASE = 100.0


@given(limits_of_any_kind, st.lists(reservations | endings | waits, max_size=60))
@settings(deadline=None, max_examples=100)
def test_no_limit_is_ever_exceeded(budget, steps):
    state, now, names, under_way, starts, sent = {}, 1000.0, 0, {}, [], 0
    most_tokens = budget.tokens if budget.tokens is not None else float("inf")
    for kind, first, second in steps:
        if kind == "reserve":
            names += 1
            worst = Cost(first, second)
            spent = account.spending(state, now=now, lease=LEASE)
            decision = account.decide(state, budget, worst, name=str(names), now=now, lease=LEASE)
            in_dollars = round(100 * spent.dollars) + round(100 * second)
            fits = (
                (budget.calls is None or spent.calls < budget.calls)
                and spent.tokens + first <= most_tokens
                and in_dollars <= round(100 * budget.dollars)
            )
            assert (decision.verdict == "never") == (not fits)
            if decision.verdict == "granted":
                under_way[str(names)] = worst
                starts.append((now, str(names)))
                sent += 1
            elif decision.verdict == "later":
                assert spent.in_flight or decision.limit == "requests_per_minute"
        elif kind == "wait":
            now += first
        elif under_way:
            name = sorted(under_way)[first % len(under_way)]
            worst = under_way.pop(name)
            if kind == "settle":
                account.settle(state, name, tokens=int(second * worst.tokens), units=0)
            elif kind == "release":
                account.settle(state, name, tokens=0, units=0)
            elif kind == "cancel":
                account.cancel(state, name)
                starts = [start for start in starts if start[1] != name]
        state = json.loads(json.dumps(state, allow_nan=False))
        held = state.get("under_way", {}).values()
        tokens = state.get("tokens", 0) + sum(entry[1] for entry in held)
        units = state.get("dollars", 0) + sum(entry[2] for entry in held)
        assert tokens <= most_tokens
        assert units <= account.in_units(budget.dollars)
        assert budget.calls is None or state.get("calls", 0) <= budget.calls
        if budget.requests_per_minute and starts:
            times = [start for start, _ in starts]
            assert most_in_a_minute(times) <= budget.requests_per_minute


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20), st.randoms())
@settings(deadline=None)
def test_the_order_of_ends_does_not_matter(costs, random):
    state = {}
    for number, (one, other) in enumerate(costs):
        worst = Cost(max(one, other), 0.01)
        account.decide(state, Budget(tokens=10**6), worst, name=str(number), now=0.0, lease=LEASE)
    order = list(range(len(costs)))
    random.shuffle(order)
    for number in order:
        account.settle(state, str(number), tokens=min(costs[number]), units=None)
    assert account.spending(state, now=0.0, lease=LEASE) == Spending(
        calls=len(costs),
        tokens=sum(map(min, costs)),
        dollars=round(len(costs) * 0.01, 2),
    )
