"""A store and a clock for the tests of the ledger, and the ledger on top of them."""

import json
import threading

from llm_wrappers.llm.budget import Budget
from llm_wrappers.llm.ledger import Ledger


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
