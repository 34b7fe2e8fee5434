"""A real OpenAI-compatible server on this machine, for tests without a provider."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeAlias

from llm_wrappers.testing._llm_fault import Fault
from llm_wrappers.testing._llm_http import HttpReply, LoopbackHttpServer
from llm_wrappers.testing._llm_reply import chat_reply, error_reply, models_reply

__all__ = ["Fault", "LLMServer"]

Words: TypeAlias = "str | Mapping[str, float]"


class LLMServer:
    """Serves `/v1/chat/completions` and `/v1/models` on a free port of 127.0.0.1.

    Every request travels over a real socket, so that timeouts, cut connections, retries and
    headers are what they are in use. Usage counts one token per word of the messages and of the
    answer. Log probabilities are sent where they are asked for.

    Args:
        answer: The text of every answer, or a function of the request's body that returns it;
            called from many threads. What it raises is raised again by `close`. In place of a text,
            the log probabilities of several words: the most probable one is then the answer.
        latency: Seconds until each reply.
        faults: What goes wrong, one per request and in this order; None for nothing. Requests
            after the last one are answered normally. May be endless, as `itertools.repeat` is.
        models: What `/v1/models` lists.

    >>> import json, urllib.request
    >>> with LLMServer("Water is to the north.", faults=[None, Fault.rate_limit()]) as server:
    ...     request = urllib.request.Request(
    ...         server.api_base + "/chat/completions",
    ...         data=json.dumps(
    ...             {"model": "test", "messages": [{"role": "user", "content": "Where is water?"}]}
    ...         ).encode(),
    ...         headers={"Authorization": "Bearer secret"},
    ...     )
    ...     with urllib.request.urlopen(request) as reply:
    ...         answer = json.load(reply)
    >>> answer["choices"][0]["message"]["content"], answer["usage"]["total_tokens"]
    ('Water is to the north.', 8)
    >>> server.count, server.headers[0]["authorization"]
    (1, 'Bearer secret')
    """

    def __init__(
        self,
        answer: Words | Callable[[dict[str, Any]], Words] = "yes",
        *,
        latency: float = 0.0,
        faults: Iterable[Fault | None] = (),
        models: Iterable[str] = ("test-model",),
    ) -> None:
        self.latency = latency
        self._answer = answer
        self._faults = iter(faults)
        self._models = tuple(models)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._requests: list[tuple[dict[str, Any], dict[str, str]]] = []
        self._running = 0
        self._max_concurrent = 0
        self._error: Exception | None = None
        self._http = LoopbackHttpServer(self._respond)

    @property
    def api_base(self) -> str:
        """The address to give to a client, the `/v1` at its end included."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The bodies of the chat requests, in the order in which they came."""
        with self._lock:
            return [copy.deepcopy(body) for body, _ in self._requests]

    @property
    def headers(self) -> list[dict[str, str]]:
        """The headers of the chat requests, with names in lower case; same order as `requests`."""
        with self._lock:
            return [dict(headers) for _, headers in self._requests]

    @property
    def count(self) -> int:
        """How many chat requests came."""
        with self._lock:
            return len(self._requests)

    @property
    def max_concurrent(self) -> int:
        """The most chat requests that were open at the same time."""
        with self._lock:
            return self._max_concurrent

    def close(self) -> None:
        """Hang up on all clients, end all threads and free the port; may be called twice.

        Raises:
            Exception: What `answer` raised, if it did.
        """
        if not self._closing.is_set():
            self._closing.set()
            self._http.stop()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def __enter__(self) -> LLMServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._error = None  # The failure in the block matters more.
        self.close()

    def _respond(
        self, method: str, path: str, headers: dict[str, str], body: Any
    ) -> HttpReply | None:
        route = method, path.partition("?")[0]
        if route == ("GET", "/v1/models"):
            return HttpReply(models_reply(self._models))
        if route != ("POST", "/v1/chat/completions"):
            return HttpReply(error_reply(f"There is no {method} {path} here."), status=404)
        if not isinstance(body, dict) or body.get("stream"):
            message = "Expected a JSON object without `stream`."
            return HttpReply(error_reply(message, kind="invalid_request_error"), status=400)
        number, fault = self._receive(body, headers)
        try:
            return self._reply(number, fault, body)
        finally:
            with self._lock:
                self._running -= 1

    def _receive(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, Fault | None]:
        with self._lock:
            self._requests.append((body, headers))
            self._running += 1
            self._max_concurrent = max(self._max_concurrent, self._running)
            return len(self._requests), next(self._faults, None)

    def _reply(self, number: int, fault: Fault | None, body: dict[str, Any]) -> HttpReply | None:
        fault = fault or Fault("none")
        if self._closing.wait(self.latency + fault.delay):
            return None
        try:
            words = self._words(body) if fault.status == 200 else ""
        except Exception as error:
            self._error = self._error or error
            return HttpReply(error_reply(f"The answer of the test failed: {error!r}"), status=500)
        payload = fault.change(chat_reply(body, words, number=number))
        return HttpReply(payload, fault.status, fault.headers, fault.resets)

    def _words(self, body: dict[str, Any]) -> Words:
        return self._answer(body) if callable(self._answer) else self._answer
