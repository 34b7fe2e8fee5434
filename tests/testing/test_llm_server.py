"""The server that stands in for a provider, spoken to without any client library."""

import http.client
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.testing.llm_server import Fault, LLMServer

HELLO = {"model": "test", "messages": [{"role": "user", "content": "Where is the water?"}]}


def post(server, body=HELLO, *, timeout=10.0, headers=None, path="/chat/completions"):
    """Return status, headers and JSON (or bytes) of a reply."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(server.api_base + path, data=content, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            return reply.status, reply.headers, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.load(error)


def text_of(reply):
    return reply[2]["choices"][0]["message"]["content"]


def threads():
    return {thread for thread in threading.enumerate() if thread.is_alive()}


class TestAnswers:
    def test_a_fixed_text(self):
        with LLMServer("To the north.") as server:
            status, headers, reply = post(server)
        assert status == 200
        assert headers["Content-Type"] == "application/json"
        choice = reply["choices"][0]
        assert choice["message"] == {
            "role": "assistant",
            "content": "To the north.",
            "refusal": None,
        }
        assert choice["finish_reason"] == "stop"
        assert choice["logprobs"] is None
        assert reply["model"] == "test"
        assert reply["usage"] == {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}

    def test_a_function_of_the_body(self):
        with LLMServer(lambda body: body["messages"][-1]["content"].upper()) as server:
            assert text_of(post(server)) == "WHERE IS THE WATER?"

    def test_what_the_function_raises_is_raised_again(self):
        def answer(body):
            raise ZeroDivisionError("in the test")

        server = LLMServer(answer)
        status, _, reply = post(server)
        assert status == 500
        assert "ZeroDivisionError('in the test')" in reply["error"]["message"]
        with pytest.raises(ZeroDivisionError, match="in the test"):
            server.close()
        server.close()

    def test_a_failure_in_the_block_comes_first(self):
        def answer(body):
            raise ZeroDivisionError

        server = LLMServer(answer)
        post(server)
        with pytest.raises(KeyError), server:
            raise KeyError

    @given(st.text(max_size=40), st.text(max_size=40))
    @settings(max_examples=25, deadline=None)
    def test_usage_counts_words(self, prompt, answer):
        with LLMServer(answer) as server:
            body = {"model": "test", "messages": [{"role": "user", "content": prompt}] * 2}
            usage = post(server, body)[2]["usage"]
        assert usage["prompt_tokens"] == 2 * len(prompt.split())
        assert usage["completion_tokens"] == max(1, len(answer.split()))

    def test_contents_in_parts_count(self):
        parts = [{"type": "text", "text": "one two"}, {"type": "image_url", "image_url": {}}]
        with LLMServer() as server:
            body = {"model": "test", "messages": [{"role": "user", "content": parts}]}
            assert post(server, body)[2]["usage"]["prompt_tokens"] == 2

    def test_log_probabilities_where_asked_for(self):
        with LLMServer("go north") as server:
            body = {**HELLO, "logprobs": True, "top_logprobs": 2}
            content = post(server, body)[2]["choices"][0]["logprobs"]["content"]
        assert [token["token"] for token in content] == ["go", "north"]
        assert all(token["logprob"] == -0.5 for token in content)
        assert [top["logprob"] for top in content[0]["top_logprobs"]] == [-0.5, -1.5]

    def test_words_with_log_probabilities_of_their_own(self):
        with LLMServer({"No": -1.5, "Yes": -0.25, "Perhaps": -9.0}) as server:
            plain = post(server)[2]["choices"][0]
            body = {**HELLO, "logprobs": True, "top_logprobs": 2}
            choice = post(server, body)[2]["choices"][0]
        assert (plain["message"]["content"], plain["logprobs"]) == ("Yes", None)
        assert choice["message"]["content"] == "Yes"
        (token,) = choice["logprobs"]["content"]
        assert (token["token"], token["logprob"]) == ("Yes", -0.25)
        top = [(other["token"], other["logprob"]) for other in token["top_logprobs"]]
        assert top == [("Yes", -0.25), ("No", -1.5)]

    def test_the_list_of_models(self):
        with (
            LLMServer(models=["a", "b"]) as server,
            urllib.request.urlopen(server.api_base + "/models", timeout=10) as reply,
        ):
            assert [model["id"] for model in json.load(reply)["data"]] == ["a", "b"]
            assert server.count == 0


class TestRecords:
    def test_bodies_and_headers_in_order(self):
        with LLMServer() as server:
            for number in range(3):
                post(
                    server, {**HELLO, "seed": number}, headers={"Authorization": f"Bearer {number}"}
                )
            assert [body["seed"] for body in server.requests] == [0, 1, 2]
            assert [h["authorization"] for h in server.headers] == [
                "Bearer 0",
                "Bearer 1",
                "Bearer 2",
            ]
            assert server.count == 3

    def test_they_cannot_be_changed_from_outside(self):
        with LLMServer() as server:
            post(server)
            server.requests[0]["messages"].clear()
            server.headers[0].clear()
            assert server.requests == [HELLO]
            assert server.headers[0]["content-type"]

    def test_what_is_no_chat_request_is_refused_and_not_counted(self):
        with LLMServer() as server:
            assert post(server, path="/completions")[0] == 404
            assert post(server, b"{")[0] == 400
            assert post(server, b"[]")[0] == 400
            assert post(server, {**HELLO, "stream": True})[0] == 400
            assert server.count == 0

    def test_max_concurrent(self):
        with LLMServer(latency=0.3) as server:
            assert server.max_concurrent == 0
            post(server)
            assert server.max_concurrent == 1
            with ThreadPoolExecutor(5) as pool:
                assert list(pool.map(lambda _: post(server)[0], range(5))) == [200] * 5
            assert 2 <= server.max_concurrent <= 5
            assert server.count == 6


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "status", "code"),
        [
            (Fault.rate_limit(), 429, "rate_limit_exceeded"),
            (Fault.quota(), 429, "insufficient_quota"),
            (Fault.error(500), 500, None),
            (Fault.error(503, "Busy.", kind="busy", code="later"), 503, "later"),
            (Fault.unauthorized(), 401, "invalid_api_key"),
            (Fault.unknown_model(), 404, "model_not_found"),
            (Fault.too_long(), 400, "context_length_exceeded"),
        ],
        ids=repr,
    )
    def test_errors(self, fault, status, code):
        with LLMServer(faults=[fault]) as server:
            got, _, reply = post(server)
            assert (got, reply["error"]["code"]) == (status, code)
            assert reply["error"]["message"]

    @pytest.mark.parametrize("value", [1, 0.5, "Wed, 21 Oct 2026 07:28:00 GMT"])
    def test_retry_after(self, value):
        with LLMServer(faults=[Fault.rate_limit(retry_after=value)]) as server:
            assert post(server)[1]["Retry-After"] == str(value)

    def test_one_per_request_in_order_then_none(self):
        faults = [None, Fault.error(500), None, Fault.unauthorized()]
        with LLMServer(faults=faults) as server:
            assert [post(server)[0] for _ in range(6)] == [200, 500, 200, 401, 200, 200]

    def test_they_may_be_endless(self):
        with LLMServer(faults=itertools.repeat(Fault.error(503))) as server:
            assert [post(server)[0] for _ in range(3)] == [503] * 3

    def test_slow_is_late_but_good(self):
        with LLMServer(faults=[Fault.slow(0.3)]) as server:
            started = time.monotonic()
            assert text_of(post(server)) == "yes"
            assert 0.3 <= time.monotonic() - started < 5

    def test_cut_breaks_off_in_the_body(self):
        with LLMServer(faults=[Fault.cut()]) as server:
            with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
                post(server)
            assert text_of(post(server)) == "yes"

    def test_malformed_is_no_json(self):
        with (
            LLMServer(faults=[Fault.malformed()]) as server,
            pytest.raises(ValueError, match="Exp"),
        ):
            post(server)

    def test_no_answer_is_made_up_for_an_error(self):
        asked = []
        with LLMServer(lambda body: asked.append(1) or "yes", faults=[Fault.error(500)]) as server:
            post(server)
            assert not asked
            post(server)
            assert asked

    def test_empty_choices(self):
        with LLMServer(faults=[Fault.empty_choices()]) as server:
            assert post(server)[2]["choices"] == []

    def test_wrong_schema(self):
        with LLMServer(faults=[Fault.wrong_schema('{"a": 1}')]) as server:
            assert text_of(post(server)) == '{"a": 1}'

    def test_a_message_of_ones_own(self):
        message = {"role": "assistant", "content": None, "refusal": "No."}
        with LLMServer(faults=[Fault.message(message, finish_reason="length")]) as server:
            choice = post(server)[2]["choices"][0]
        assert choice["message"] == message
        assert choice["finish_reason"] == "length"


class TestClosing:
    @pytest.mark.parametrize("fault", [None, Fault.slow(3600)], ids=["idle", "slow"])
    def test_ends_all_threads_and_connections_at_once(self, fault):
        before = threads()
        server = LLMServer(faults=[fault])
        client = http.client.HTTPConnection(server.api_base.split("/")[2], timeout=10)
        client.request("POST", "/v1/chat/completions", body=json.dumps(HELLO))
        if fault is None:
            client.getresponse().read()  # And the connection stays open.
        else:
            while not server.count:
                time.sleep(0.01)
        started = time.monotonic()
        server.close()
        server.close()
        assert time.monotonic() - started < 4
        assert threads() <= before
        client.close()

    def test_nobody_can_connect_afterwards(self):
        with LLMServer() as server:
            address = ("127.0.0.1", int(server.api_base.split(":")[2].split("/")[0]))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)

    def test_a_client_that_hung_up_disturbs_nobody(self, capfd):
        with LLMServer(faults=[Fault.slow(0.3)]) as server:
            with pytest.raises(TimeoutError):
                post(server, timeout=0.05)
            time.sleep(0.5)
            assert text_of(post(server)) == "yes"
        assert capfd.readouterr().err == ""

    def test_a_program_that_forgets_to_close_it_ends(self):
        program = "from llm_wrappers.testing.llm_server import LLMServer; s = LLMServer()"
        done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
        assert done.returncode == 0


def test_it_listens_on_this_machine_only():
    with LLMServer() as server:
        assert server.api_base.startswith("http://127.0.0.1:")
        assert server.api_base.endswith("/v1")
