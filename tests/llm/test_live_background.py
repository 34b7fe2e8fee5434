"""A live source that asks while the environment goes on."""

import gc
import pickle
import threading
import time
import weakref

import pytest

from llm_wrappers.errors import (
    AuthenticationError,
    GuidanceWarning,
)
from llm_wrappers.llm import Budget, LiveSource
from llm_wrappers.testing import ScriptedLLM


class Gate:
    """A model that answers only when it is let to."""

    def __init__(self, *, errors=()):
        self.open = threading.Event()
        self.errors = dict(errors)
        self.running = self.most_running = 0
        self._lock = threading.Lock()

    def __call__(self, request):
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        assert self.open.wait(20)
        with self._lock:
            self.running -= 1
        text = request.messages[-1]["content"]
        if text in self.errors:
            raise self.errors[text]
        return text.upper()

    def __getstate__(self):
        return {}

    def __setstate__(self, state):
        self.__init__()
        self.open.set()


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


def make_source(script, **options):
    llm = {"concurrency": 4, "budget": None}
    llm.update({name: options.pop(name) for name in list(options) if name in llm})
    return LiveSource(
        ScriptedLLM(script, **llm),
        **{"prompt": str, "purpose": "goals", "on_miss": "background", **options},
    )


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def settle(source):
    until(lambda: source.stats()["pending"] == 0)


def asked(source):
    return [request.messages[-1]["content"] for request in source.llm.requests]


def refuse(thread):
    raise RuntimeError("can't start new thread")


def sources_threads():
    return [thread for thread in threading.enumerate() if thread.name == "live-source"]


def test_a_step_does_not_wait_and_a_later_one_has_the_answer(gate):
    source = make_source(gate)
    assert source.answers(["cow", "tree", "cow"]) == [None, None, None]
    assert source.stats()["pending"] == 2
    gate.open.set()
    settle(source)
    assert source.answers(["cow", "tree", "cow"]) == ["COW", "TREE", "COW"]
    stats = source.stats()
    assert (stats["asked"], stats["answered"], stats["pending"], stats["neutral"]) == (2, 2, 0, 3)
    assert source.missed == ()
    assert source.llm.usage["goals"].calls == 2


def test_a_text_is_asked_about_once_however_often_it_is_seen_meanwhile(gate):
    source = make_source(gate, recheck_seconds=0)
    for _ in range(5):
        source.answers(["cow", "tree"])
    gate.open.set()
    settle(source)
    source.answers(["tree", "cow"])
    assert sorted(asked(source)) == ["cow", "tree"]


def test_no_more_wait_than_allowed_and_the_others_are_tried_again(gate):
    source = make_source(gate, max_pending=3)
    texts = ["a", "b", "c", "d", "e"]
    for _ in range(2):
        source.answers(texts)
        assert source.stats()["pending"] == 3
    assert source.stats()["dropped"] == 4
    gate.open.set()
    settle(source)
    assert source.answers(texts) == ["A", "B", "C", None, None]
    settle(source)
    assert source.answers(texts) == ["A", "B", "C", "D", "E"]
    assert sorted(asked(source)) == texts


def test_as_many_at_once_as_the_client_allows_and_no_thread_is_left_over(gate):
    source = make_source(gate, concurrency=3)
    source.answers([str(i) for i in range(20)])
    until(lambda: gate.running == 3)
    assert len(sources_threads()) == 3
    gate.open.set()
    settle(source)
    until(lambda: not sources_threads())
    assert gate.most_running == 3
    source.answers(["one more", *["0"] * 19])
    settle(source)
    assert source.answers(["one more"] * 20) == ["ONE MORE"] * 20


class TestFailures:
    def test_what_the_user_got_wrong_is_raised_by_the_next_step(self, gate):
        gate.errors["cow"] = AuthenticationError("no key for this model")
        source = make_source(gate)
        gate.open.set()
        assert source.answers(["cow"]) == [None]
        settle(source)
        with pytest.raises(AuthenticationError, match="no key for this model"):
            source.answers(["cow"])
        del gate.errors["cow"]
        assert source.answers(["cow"]) == [None]
        settle(source)
        assert source.answers(["cow"]) == ["COW"]

    def test_a_spent_budget_stops_what_waits(self, gate):
        source = make_source(gate, budget=Budget(calls=2), concurrency=1)
        texts = ["a", "b", "c", "d", "e"]
        source.answers(texts)
        gate.open.set()
        settle(source)
        with pytest.warns(GuidanceWarning, match="raise the budget and call ask_missed") as said:
            assert source.answers(texts) == ["A", "B", None, None, None]
        assert len(said) == 1
        source.answers(["f"] * 5)
        assert sorted(source.missed) == ["c", "d", "e", "f"]
        assert asked(source) == ["a", "b"]
        assert source.stats()["pending"] == 0


class TestClose:
    def test_what_was_not_begun_is_dropped_and_what_was_is_waited_for(self, gate):
        source = make_source(gate, concurrency=1)
        source.answers(["a", "b", "c"])
        until(lambda: gate.running == 1)
        threading.Timer(0.1, gate.open.set).start()
        source.close()
        assert source.stats()["pending"] == 0
        assert asked(source) == ["a"]
        assert source.answers(["a", "a", "a"]) == ["A", "A", "A"]

    def test_but_not_for_ever(self, gate):
        source = make_source(gate)
        source.answers(["a", "b"])
        until(lambda: gate.running == 2)
        started = time.monotonic()
        source.close(timeout=0.1)
        assert 0.09 < time.monotonic() - started < 5
        gate.open.set()
        settle(source)
        assert source.answers(["a", "b"]) == ["A", "B"]

    def test_a_forgotten_source_asks_no_more(self, gate):
        source = make_source(gate, concurrency=1)
        llm, forgotten = source.llm, weakref.ref(source)
        source.answers(["a", "b", "c"])
        until(lambda: gate.running == 1)
        del source
        gc.collect()
        assert forgotten() is None
        gate.open.set()
        until(lambda: not sources_threads())
        assert [request.messages[-1]["content"] for request in llm.requests] == ["a"]


def test_a_copy_made_while_answers_are_under_way_begins_afresh(gate):
    source = make_source(gate)
    source.answers(["a", "b"])
    twin = pickle.loads(pickle.dumps(source))
    assert twin.stats()["pending"] == 0
    assert twin.answers(["a"]) == [None]
    settle(twin)
    assert twin.answers(["a"]) == ["A"]
    assert source.stats()["pending"] == 2
