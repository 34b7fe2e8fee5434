"""Answer caches that real processes share, and that processes die in."""

import multiprocessing
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from contextlib import closing
from pathlib import Path

import pytest
from redis_server import running_redis
from store_samples import a_record
from store_workers import ask_once, claim_and_die, die_in_a_transaction, meet, take_part

from llm_wrappers.llm.cache.redis_store import RedisStore
from llm_wrappers.llm.cache.sqlite_store import SqliteStore


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.slow)])
def store(request, tmp_path):
    if request.param == "sqlite":
        store = SqliteStore(tmp_path / "cache.sqlite")
    else:
        store = RedisStore(request.getfixturevalue("redis_url"), prefix=f"{tmp_path.name}:")
    yield store
    store.close()


def acknowledged(log):
    """Return key and writer of each complete line of a log."""
    lines = log.read_text(encoding="utf-8").split("\n")[:-1]
    return [tuple(line.split()) for line in lines]


def ask(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("number", "writes"), [(3, 300), pytest.param(8, 4000, marks=pytest.mark.slow)]
)
def test_nothing_that_was_acknowledged_is_lost_when_a_writer_is_killed(tmp_path, number, writes):
    cache, script = tmp_path / "cache.sqlite", Path(__file__).with_name("store_workers.py")
    logs = [tmp_path / f"{name}.log" for name in range(number)]
    writers = [
        subprocess.Popen([sys.executable, script, cache, log, str(name), str(writes)])
        for name, log in enumerate(logs)
    ]
    victim, its_log = writers[0], logs[0]
    while victim.poll() is None and not (
        its_log.exists() and its_log.read_bytes().count(b"\n") > writes // 4
    ):
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    assert [writer.wait() for writer in writers] == [-signal.SIGKILL] + [0] * (number - 1)

    told = [line for log in logs for line in acknowledged(log)]
    assert len(told) >= (number - 1) * writes + writes // 4
    assert len(acknowledged(its_log)) < writes
    with closing(SqliteStore(cache)) as store:
        kept = {record.key: record.completion.text.split()[1] for record in store.records()}
        assert store.stats()["answers"] == len(kept)
    # All were told the same answer to the same question, and that is the one that is kept.
    assert dict(told).items() <= kept.items()
    assert all(kept[key] == writer for key, writer in told)
    # The victim may have kept one more than it came to log.
    assert len(kept) - len({key for key, _ in told}) in (0, 1)
    assert len({writer for _, writer in told}) == number
    assert ask(cache, "PRAGMA integrity_check") == [("ok",)]
    assert ask(cache, "SELECT answers FROM totals") == [(len(kept),)]


@pytest.mark.parametrize(
    ("method", "opened"),
    [
        ("fork", False), ("fork", True), pytest.param("spawn", True, marks=pytest.mark.slow),
        pytest.param("forkserver", True, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_processes_share_a_store_however_they_are_started(store, method, opened):
    if opened:
        store.put(a_record("before"))
    context = multiprocessing.get_context(method)
    start, results = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=take_part, args=(store, f"process {name}", start, results))
        for name in range(3)
    ]
    with warnings.catch_warnings():
        # Later versions of Python warn of a fork beside threads; queues have one.
        warnings.simplefilter("ignore", DeprecationWarning)
        for process in processes:
            process.start()
    seen = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert seen[0] == seen[1] == seen[2]
    assert store.stats()["answers"] == 3 * 25 + 25 + opened
    assert store.transact("count", dict) == {"n": 75}


def test_a_claim_lets_one_process_ask(store, tmp_path):
    context, log = multiprocessing.get_context("spawn"), tmp_path / "calls.log"
    start = context.Barrier(4)
    processes = [
        context.Process(target=ask_once, args=(pickle.dumps(store), log, start)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(map(int, log.read_text().split())) == list(range(20))
    assert store.stats()["answers"] == 20


def test_the_claim_of_a_process_that_died_passes_on(store):
    process = multiprocessing.get_context("spawn").Process(target=claim_and_die, args=(store,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    until = time.monotonic() + 10
    while not store.claim("a", owner="heir", seconds=60):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_process_that_died_in_a_transaction_changed_nothing(store):
    store.transact("count", lambda state: state.update(n=1))
    process = multiprocessing.get_context("spawn").Process(
        target=die_in_a_transaction, args=(store,)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert store.transact("count", dict) == {"n": 1}


@pytest.mark.parametrize("damaged", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_processes_that_meet_at_a_file(tmp_path, damaged):
    """A damaged one is set aside once; a new one is made once."""
    paths = [tmp_path / f"{number}.sqlite" for number in range(5)]
    if damaged:
        for path in paths:
            path.write_bytes(b"damage" * 1000)
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=meet, args=(paths, start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    told = [results.get(timeout=100) for _ in processes]
    for process in processes:
        process.join()
    for path, errors_of_each in zip(paths, zip(*told, strict=True), strict=True):
        asides = list(tmp_path.glob(f"{path.name}.corrupt-*"))
        errors = [error for errors in errors_of_each for error in errors]
        if damaged:
            (aside,) = asides
            assert aside.read_bytes() == b"damage" * 1000
            for error in errors:
                assert "CacheCorruptError" in error, error
                assert str(aside) in error, error
            assert 1 <= len(errors) <= 4
        else:
            assert asides == errors == []
        with closing(SqliteStore(path)) as store:
            assert store.stats()["answers"] == 4
