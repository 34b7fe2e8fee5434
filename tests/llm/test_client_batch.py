"""`ask_many`: order, duplicates, concurrency, errors, interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import (
    AuthenticationError,
    BatchError,
    BudgetExceededError,
    InvalidOptionError,
    InvalidRequestError,
)
from llm_wrappers.llm import Budget
from llm_wrappers.testing import ScriptedLLM


def prompt_of(request):
    return request.messages[-1]["content"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abcdef"), max_size=20))
def test_order_is_kept_and_each_distinct_prompt_is_asked_once(prompts):
    llm = ScriptedLLM(lambda request: prompt_of(request) * 2)
    assert [answer.text for answer in llm.ask_many(prompts)] == [p * 2 for p in prompts]
    assert len(llm.requests) == len(set(prompts))


@pytest.mark.parametrize("concurrency", [1, 3])
def test_at_most_so_many_requests_are_under_way(concurrency):
    lock = threading.Lock()
    now, most = 0, 0

    def count(request):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        return "x"

    llm = ScriptedLLM(count, concurrency=concurrency)
    halves = [[str(i) for i in range(6)], [str(i) for i in range(6, 12)]]
    threads = [threading.Thread(target=llm.ask_many, args=(half,)) for half in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == concurrency


def test_one_bad_prompt_does_not_cost_the_others():
    def answer(request):
        if prompt_of(request) == "bad":
            raise InvalidRequestError("refused")
        return "ok"

    llm = ScriptedLLM(answer)
    with pytest.raises(BatchError, match="2 of 4 prompts failed") as caught:
        llm.ask_many(["a", "bad", "b", "bad"])
    assert [a and a.text for a in caught.value.answers] == ["ok", None, "ok", None]
    assert sorted(caught.value.errors) == [1, 3]
    assert [a and a.text for a in llm.ask_many(["a", "bad", "c"], on_error="none")] == [
        "ok",
        None,
        "ok",
    ]
    assert len(llm.requests) == 4


@pytest.mark.parametrize("on_error", ["raise", "none"])
def test_what_the_user_got_wrong_ends_the_batch(on_error):
    def answer(request):
        raise AuthenticationError("no key")

    llm = ScriptedLLM(answer, concurrency=2)
    with pytest.raises(AuthenticationError):
        llm.ask_many([str(i) for i in range(200)], on_error=on_error)
    assert len(llm.requests) < 50


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_spent_budget_raises_and_keeps_what_was_answered(concurrency):
    llm = ScriptedLLM(prompt_of, budget=Budget(calls=5), concurrency=concurrency)
    prompts = [str(i) for i in range(20)]
    with pytest.raises(BudgetExceededError):
        llm.ask_many(prompts)
    kept = [answer for answer in llm.look_up(prompts) if answer is not None]
    assert len(kept) == len(llm.requests) == llm.spent.calls == 5


def test_a_spent_budget_is_no_answer_for_live_sources():
    llm = ScriptedLLM(prompt_of, budget=Budget(calls=5), concurrency=4)
    answers = llm.ask_many([str(i) for i in range(20)], on_error="none")
    assert sum(answer is not None for answer in answers) == 5
    assert all(a is None or a.text == str(i) for i, a in enumerate(answers))


@pytest.mark.parametrize("wanted", [True, False, None])
def test_the_progress_bar_is_shown_when_wanted(wanted, capsys):
    ScriptedLLM(prompt_of).ask_many([str(i) for i in range(30)], progress_bar=wanted)
    shown = capsys.readouterr().err
    # Not a terminal here, so None shows none.
    assert ("30/30" in shown) is (wanted is True)


def test_ctrl_c_keeps_what_was_answered(tmp_path, caplog):
    sent = threading.Semaphore(0)

    def answer(request):
        sent.release()
        time.sleep(0.05)
        return prompt_of(request)

    llm = ScriptedLLM(answer, cache=tmp_path / "answers.sqlite", concurrency=4)

    def interrupt():
        for _ in range(10):
            sent.acquire()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    prompts = [str(i) for i in range(120)]
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        llm.ask_many(prompts)
    assert time.monotonic() - started < 3
    asked = len(llm.requests)
    assert 10 <= asked < 100
    kept = [answer for answer in llm.look_up(prompts) if answer is not None]
    assert len(kept) == asked
    assert "Ctrl-C once more" in caplog.text
    assert len(llm.ask_many(prompts)) == 120
    assert len(llm.requests) == 120


def test_a_bug_in_a_transport_is_not_swallowed():
    def broken(request):
        raise ZeroDivisionError("bug")

    with pytest.raises(ZeroDivisionError):
        ScriptedLLM(broken).ask_many(["a", "b"], on_error="none")


_PROGRAM = """
import os, signal, sys, threading, time
from llm_wrappers.testing import ScriptedLLM

sent = threading.Semaphore(0)

def answer(request):
    sent.release()
    time.sleep(30)

llm = ScriptedLLM(answer, cache=sys.argv[1], concurrency=4)
prompts = [str(number) for number in range(100)]

def wait_until_sent():
    for _ in range(4):
        sent.acquire()
"""
_INTERRUPTED_TWICE = """
def interrupt():
    wait_until_sent()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
try:
    llm.ask_many(prompts)
except KeyboardInterrupt:
    print("given up", len(llm.requests))
"""
_LEFT = """
threading.Thread(target=llm.ask_many, args=(prompts,), daemon=True).start()
wait_until_sent()
print("given up", len(llm.requests))
"""


@pytest.mark.parametrize("end", [_INTERRUPTED_TWICE, _LEFT], ids=["ctrl-c-twice", "program-ends"])
def test_a_program_ends_without_the_answers_under_way(end, tmp_path):
    cache = tmp_path / "answers.sqlite"
    started = time.monotonic()
    program = subprocess.run(
        [sys.executable, "-c", _PROGRAM + end, str(cache)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert time.monotonic() - started < 20
    assert (program.stdout.strip(), program.returncode) == ("given up 4", 0)
    assert "Traceback" not in program.stderr
    # Whoever comes next need not wait for those who left.
    started = time.monotonic()
    assert len(ScriptedLLM(prompt_of, cache=cache).ask_many(["0", "1", "2", "3"])) == 4
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("prompts", [None, 3, b"text", {"role": "user", "content": "?"}])
def test_what_is_no_list_of_prompts_is_refused(prompts):
    llm = ScriptedLLM(lambda request: "x")
    for ask in (llm.ask_many, llm.look_up):
        with pytest.raises(InvalidOptionError, match="list of prompts"):
            ask(prompts)
