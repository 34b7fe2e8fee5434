"""What the processes do that share an answer cache; quick to import.

Run as a script, `store_workers.py CACHE LOG NAME NUMBER` writes.
"""

import os
import pickle
import signal
import sys
import time

from store_samples import a_record

from llm_wrappers.errors import CacheError
from llm_wrappers.llm.cache import open_store
from llm_wrappers.llm.cache.sqlite_store import SqliteStore


def write(cache, log, name, number):
    """Put one record at a time; log its key and answer once `put` has returned.

    Every fifth question is one that all writers ask.
    """
    store = open_store(cache)
    with open(log, "a", encoding="utf-8") as acknowledged:
        for count in range(number):
            whose = "all" if count % 5 == 0 else name
            kept = store.put(a_record(f"{whose} {count}", f"by {name} " + "and so on " * 30))
            acknowledged.write(f"{kept.key} {kept.completion.text.split()[1]}\n")
            acknowledged.flush()
    store.close()


def take_part(store, name, start, results):
    """Do a bit of everything at the same time as the others."""
    start.wait()
    for number in range(25):
        store.put(a_record(f"{name} {number}"))
        store.put(a_record(f"common {number}", name))
        store.transact("count", lambda state: state.update(n=state.get("n", 0) + 1))
    results.put({f"common {n}": store.get(a_record(f"common {n}").key) for n in range(25)})
    store.close()


def ask_once(pickled, log, start):
    """Ask a model, which is a line in a log, only for what nobody else asks for."""
    store, owner = pickle.loads(pickled), str(os.getpid())
    start.wait()
    for number in range(20):
        record = a_record(f"question {number}", owner)
        while store.get(record.key) is None:
            if not store.claim(record.key, owner=owner, seconds=30):
                time.sleep(0.001)
            elif store.get(record.key) is None:
                with log.open("a") as calls:
                    calls.write(f"{number}\n")
                store.put(record)
            else:
                store.release(record.key, owner=owner)
    store.close()


def claim_and_die(store):
    store.claim("a", owner="victim", seconds=0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_a_transaction(store):
    def die(state):
        state["n"] = 99
        os.kill(os.getpid(), signal.SIGKILL)

    store.transact("count", die)


def meet(paths, start, results):
    """Put into one file after the other at the same moment as the others; tell the errors."""
    told = []
    for path in paths:
        store, errors = SqliteStore(path), []
        start.wait()
        while True:
            try:
                store.put(a_record(f"by {os.getpid()}"))
                break
            except CacheError as error:
                errors.append(f"{type(error).__name__}: {error}")
        store.close()
        told.append(errors)
    results.put(told)


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
