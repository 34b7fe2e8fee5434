"""The brake on requests."""

import multiprocessing
import os
import subprocess
import sys

import pytest

from llm_wrappers.errors import InvalidOptionError, RequestsNotAllowedError
from llm_wrappers.llm.brake import (
    VARIABLE,
    allow_requests,
    check_requests_allowed,
    requests_allowed,
)

# What a process started now is told, and whether asking would need litellm.
CHILD = """
import sys
from llm_wrappers.errors import RequestsNotAllowedError
from llm_wrappers.llm.brake import requests_allowed
from llm_wrappers.llm.provider.connection import Connection
from llm_wrappers.llm.provider.litellm_transport import LiteLLMTransport
from llm_wrappers.llm.request import Request, as_messages

transport = LiteLLMTransport(Connection(api_base="http://127.0.0.1:9/v1", api_key="sk-123456"))
request = Request(model="openai/test", messages=as_messages("Where is water?"))
for method in (lambda: transport.complete(request, send_schema=False),
               lambda: transport.worst_case(request)):
    try:
        method()
    except RequestsNotAllowedError:
        print("refused")
print(transport.supports_schema("openai/gpt-5-mini"), requests_allowed(), "litellm" in sys.modules)
"""


@pytest.fixture
def unset(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def test_a_block_restores_what_was_before(unset):
    with allow_requests(False):
        assert not requests_allowed()
        with allow_requests(True):
            assert requests_allowed()
        assert os.environ[VARIABLE] == "0"
    assert VARIABLE not in os.environ


@pytest.mark.parametrize("no", ["0", "false", "No", " OFF "])
def test_spellings_of_no(monkeypatch, no):
    monkeypatch.setenv(VARIABLE, no)
    assert not requests_allowed()


@pytest.mark.parametrize("yes", ["1", "true", "Yes", " ON ", "", " "])
def test_spellings_of_yes_and_of_nothing(monkeypatch, yes):
    monkeypatch.setenv(VARIABLE, yes)
    assert requests_allowed()


def test_an_unknown_spelling_is_refused(monkeypatch):
    monkeypatch.setenv(VARIABLE, "nope")
    with pytest.raises(InvalidOptionError, match=rf"{VARIABLE} to be one of .* got 'nope'"):
        requests_allowed()


@pytest.mark.parametrize("value", ["0", 0, None])
def test_only_booleans_are_taken(value):
    with pytest.raises(InvalidOptionError, match="allowed must be True or False, got"):
        allow_requests(value)
    assert not requests_allowed()


def test_the_refusal_names_the_request_and_the_way_out():
    with pytest.raises(RequestsNotAllowedError) as caught:
        check_requests_allowed("openai/gpt-5-mini with 'Where is water?'")
    for part in (f"{VARIABLE}=0", "openai/gpt-5-mini", "Where is water?", "allow_requests(True)"):
        assert part in str(caught.value)


def test_another_program_inherits_it_and_never_imports_litellm():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["refused", "refused", "False False False"], done.stderr


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_workers_inherit_it(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(requests_allowed) is False
