"""A budget that copies, threads and processes share, also when some of them die."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress

import pytest
from ledger_doubles import Clock, DictStore, a_ledger
from redis_server import running_redis

from llm_wrappers.errors import BudgetExceededError, InvalidOptionError
from llm_wrappers.llm.budget import Budget
from llm_wrappers.llm.cache.redis_store import RedisStore
from llm_wrappers.llm.cache.sqlite_store import SqliteStore
from llm_wrappers.llm.ledger import Ledger, Spending
from llm_wrappers.llm.transport import Cost

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
