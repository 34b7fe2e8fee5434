"""record, replay, refresh, off; and several askers of the same question."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
import warnings

import pytest
from pydantic import BaseModel, field_validator

from llm_wrappers.errors import CacheMissError, InvalidRequestError
from llm_wrappers.llm import LLM, Budget, Completion, Record, Request
from llm_wrappers.testing import ScriptedLLM
from llm_wrappers.testing.scripted_llm import ScriptedTransport


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "answers.sqlite"


def test_replay_never_asks_and_a_miss_names_prompt_and_file(cache):
    ScriptedLLM(["north"], cache=cache).ask("Where?")
    llm = ScriptedLLM(["never"], cache=cache, mode="replay")
    assert llm.ask("Where?").text == "north"
    with pytest.raises(CacheMissError, match=r"Whither\?") as caught:
        llm.ask("Whither?")
    assert str(cache) in str(caught.value)
    with pytest.raises(CacheMissError, match="and 1 more"):
        llm.ask_many(["Where?", "a", "b", "a"])
    assert llm.requests == []


def test_refresh_asks_anew_once_and_overwrites(cache):
    ScriptedLLM(["north"], cache=cache).ask("Where?")
    llm = ScriptedLLM(["south"], cache=cache, mode="refresh")
    assert llm.ask("Where?").text == "south"
    assert llm.ask("Where?").cached
    assert ScriptedLLM([], cache=cache).ask("Where?").text == "south"


def test_refresh_asks_what_failed_before(cache):
    failing = ScriptedLLM([InvalidRequestError("no")], cache=cache)
    with pytest.raises(InvalidRequestError):
        failing.ask("Where?")
    assert ScriptedLLM(["south"], cache=cache, mode="refresh").ask("Where?").text == "south"
    assert ScriptedLLM([], cache=cache).ask("Where?").text == "south"


def test_off_neither_reads_nor_writes(cache):
    ScriptedLLM(["north"], cache=cache).ask("Where?")
    llm = ScriptedLLM(["a", "b"], cache=cache, mode="off")
    assert [llm.ask("Where?").text for _ in range(2)] == ["a", "b"]
    assert ScriptedLLM([], cache=cache).ask("Where?").text == "north"


def test_look_up_never_asks(cache):
    ScriptedLLM(["north"], cache=cache).ask("Where?")
    llm = ScriptedLLM([], cache=cache)
    found = llm.look_up(["Where?", "Whither?"])
    assert found[0].text == "north"
    assert found[0].cached
    assert found[1] is None
    assert llm.usage.total.cache_hits == 1


def test_two_clients_that_ask_the_same_at_once_pay_once(cache):
    def slow(request):
        time.sleep(0.2)
        return "north"

    clients = [ScriptedLLM(slow, cache=cache) for _ in range(4)]
    answers = [None] * 8

    def ask(position):
        answers[position] = clients[position % 4].ask("Where?").text

    threads = [threading.Thread(target=ask, args=(position,)) for position in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["north"] * 8
    assert sum(len(client.requests) for client in clients) == 1


def test_when_the_first_asker_fails_for_now_the_next_one_asks(cache):
    entered = threading.Event()

    def fail_late(request):
        entered.set()
        time.sleep(0.2)
        raise ConnectionError("a bug of the transport, not of the question")

    first = ScriptedLLM(fail_late, cache=cache)
    second = ScriptedLLM(["north"], cache=cache)
    seen = []

    def ask_first():
        try:
            first.ask("Where?")
        except ConnectionError as error:
            seen.append(error)

    thread = threading.Thread(target=ask_first)
    thread.start()
    entered.wait(5)
    assert second.ask("Where?").text == "north"
    thread.join()
    assert len(seen) == 1


def _never_answers(request):
    time.sleep(60)


def _leave_with_a_question_under_way(cache):
    llm = ScriptedLLM(_never_answers, cache=cache)
    threading.Thread(target=llm.ask, args=("Where?",), daemon=True).start()
    while not llm.requests:
        time.sleep(0.01)


def test_a_process_that_ends_lets_others_ask(cache):
    process = multiprocessing.get_context("spawn").Process(
        target=_leave_with_a_question_under_way, args=(cache,)
    )
    process.start()
    process.join(30)
    assert process.exitcode == 0
    started = time.monotonic()
    assert ScriptedLLM(["north"], cache=cache).ask("Where?").text == "north"
    assert time.monotonic() - started < 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_asks_although_all_places_were_taken(cache):
    release = threading.Event()

    def wait(request):
        if request.messages[-1]["content"] == "slow":
            release.wait(20)
        return "x"

    llm = ScriptedLLM(wait, cache=cache, concurrency=1)
    thread = threading.Thread(target=llm.ask, args=("slow",))
    thread.start()
    while not llm.requests:
        time.sleep(0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(10)
        os._exit(0 if llm.ask("other").text == "x" else 1)
    _, status = os.waitpid(child, 0)
    release.set()
    thread.join()
    assert status == 0
    assert llm.ask("other").cached


class Number(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def _small(cls, number: int) -> int:
        if number > Number.__dict__["limit"][0]:
            raise ValueError("too big")
        return number


Number.limit = [10]


def test_an_outdated_answer_is_replaced_once_by_all_clients_together(cache, monkeypatch):
    ScriptedLLM(['{"number": 7}'], cache=cache).ask("How many?", schema=Number)
    clients = [ScriptedLLM(lambda request: '{"number": 3}', cache=cache) for _ in range(3)]
    for client in clients:
        assert client.ask("How many?", schema=Number).parsed.number == 7
    monkeypatch.setattr(Number, "limit", [5])
    for client in clients:
        assert client.ask("How many?", schema=Number).parsed.number == 3
    assert sum(len(client.requests) for client in clients) == 1


class _Overtaken(ScriptedTransport):
    """Lets somebody else take the question over while this asker waits for its budget."""

    def __init__(self, cache, script):
        super().__init__(script)
        self.cache = cache
        self.overtaken = threading.Event()

    def worst_case(self, request):
        if not self.overtaken.is_set():
            self.overtaken.set()
            with sqlite3.connect(self.cache) as connection:
                connection.execute("UPDATE claims SET owner = 'somebody else'")
            connection.close()
        return super().worst_case(request)


def test_whoever_is_overtaken_waits_for_the_answer_and_pays_nothing(cache):
    transport = _Overtaken(cache, ["never"])
    llm = LLM("scripted", cache=cache, transport=transport, budget=Budget(calls=5))
    answers = []
    thread = threading.Thread(target=lambda: answers.append(llm.ask("Where?")))
    thread.start()
    assert transport.overtaken.wait(5)
    time.sleep(0.3)
    key = ScriptedLLM(["x"]).ask("Where?").key
    request = Request(model="scripted", messages=({"role": "user", "content": "Where?"},))
    assert request.key == key
    llm.store.put(Record(request=request, completion=Completion(text="north"), created=1.0))
    thread.join(5)
    assert [(answer.text, answer.cached) for answer in answers] == [("north", True)]
    assert transport.requests == []
    assert llm.spent.calls == 0
    counts = llm.usage.total
    assert (counts.calls, counts.cache_hits, counts.failures) == (0, 1, 0)
