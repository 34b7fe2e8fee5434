"""Retries: when, how often, how long, and how to end them."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import AuthenticationError, ProviderError
from llm_wrappers.llm import _exchange as retrying
from llm_wrappers.llm._exchange import call_with_retries

AT_ONCE = {"retry_after": 0.0}


class Failing:
    """Fails with the given errors, then returns their number."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls <= len(self.errors):
            raise self.errors[self.calls - 1]
        return self.calls


@pytest.fixture
def waits(monkeypatch):
    """Makes waiting instantaneous, and remembers for how long it would have been."""
    waited = []
    monkeypatch.setattr(
        retrying, "_stopped_while_waiting", lambda stop, seconds: waited.append(seconds)
    )
    return waited


def transient(count, **options):
    return [ProviderError(f"failure {i}", **{**AT_ONCE, **options}) for i in range(count)]


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_the_last_failure_is_raised(retries):
    errors = transient(10)
    call = Failing(*errors)
    with pytest.raises(ProviderError) as caught:
        call_with_retries(call, retries=retries)
    assert caught.value is errors[retries]
    assert call.calls == retries + 1


@pytest.mark.parametrize(
    "error",
    [
        ProviderError("no money", transient=False),
        AuthenticationError("no key"),
        KeyboardInterrupt(),
    ],
    ids=["final", "user", "ctrl-c"],
)
def test_other_failures_are_raised_at_once(error):
    call = Failing(error)
    with pytest.raises(type(error)) as caught:
        call_with_retries(call, retries=5)
    assert caught.value is error
    assert call.calls == 1


def test_waits_double_up_to_a_limit(waits):
    call_with_retries(Failing(*transient(9, retry_after=None)), retries=9)
    for wait, planned in zip(waits, [0.5, 1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert planned <= wait <= planned * 1.25


@given(st.floats(-10, 1e9))
@settings(deadline=None)
def test_the_wait_is_what_the_provider_asks_for_up_to_two_minutes(seconds):
    error = ProviderError("busy", retry_after=seconds)
    wait = retrying._seconds_to_wait(error, 3, random.Random())
    asked = min(max(seconds, 0.0), 120.0)
    assert asked <= wait <= 1.25 * asked


def test_the_global_random_states_are_left_alone(waits):
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002 -- the state that must not change
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    call_with_retries(Failing(*transient(4, retry_after=None)), retries=4)
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002


class TestStop:
    def test_ends_a_wait_with_the_last_failure(self):
        stop = threading.Event()
        call = Failing(*transient(1, retry_after=60.0))
        timer = threading.Timer(0.1, stop.set)
        timer.start()
        started = time.monotonic()
        with pytest.raises(ProviderError, match="failure 0"):
            call_with_retries(call, retries=5, stop=stop)
        timer.join()
        assert time.monotonic() - started < 30
        assert call.calls == 1


WAITING = """
import sys
from llm_wrappers.errors import ProviderError
from llm_wrappers.llm._exchange import call_with_retries
def call():
    print("called", flush=True)
    raise ProviderError("busy", retry_after=100.0)
call_with_retries(call, retries=1)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_a_wait_at_once():
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "called\n"
        time.sleep(0.2)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert time.monotonic() - started < 30
    assert errors.rstrip().endswith("KeyboardInterrupt")
