"""A real OpenAI-compatible server on this machine, for tests without a provider."""

from __future__ import annotations

import copy
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, TypeAlias

__all__ = ["Fault", "LLMServer"]

Json: TypeAlias = "dict[str, Any]"
Words: TypeAlias = "str | Mapping[str, float]"

_LOGPROB = -0.5
_POLL_SECONDS = 0.02
_JOIN_SECONDS = 5.0


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong with one reply of `LLMServer`; made by its class methods.

    Args:
        name: What it is, for messages and test ids.
        change: Makes of the good reply what is sent: JSON, or bytes as they are.
        status: The HTTP status.
        headers: More headers.
        delay: Seconds to wait before the reply.
        resets: Whether the connection is reset in the middle of the body.

    >>> Fault.rate_limit(retry_after=1)
    Fault.rate_limit
    """

    name: str
    change: Callable[[Json], Any] = field(default=lambda reply: reply, compare=False)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    resets: bool = False

    def __repr__(self) -> str:
        return f"Fault.{self.name}"

    @classmethod
    def error(
        cls,
        status: int = 500,
        message: str = "The server had an error.",
        *,
        kind: str = "server_error",
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> Fault:
        """An HTTP status of your choice with an error in the form of OpenAI."""
        body = _error_reply(message, kind, code)
        return cls(name or f"error({status})", lambda _: body, status, headers or {})

    @classmethod
    def rate_limit(cls, retry_after: float | str | None = None) -> Fault:
        """Too many requests (429), with `Retry-After` if given: seconds or an HTTP date."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        said = ("Rate limit reached for requests.", "requests", "rate_limit_exceeded")
        return cls._refusal("rate_limit", 429, *said, headers=headers)

    @classmethod
    def quota(cls) -> Fault:
        """The account is out of money (429), which no waiting mends."""
        message = "You exceeded your current quota, please check your plan and billing details."
        return cls._refusal("quota", 429, message, "insufficient_quota", "insufficient_quota")

    @classmethod
    def unauthorized(cls, message: str = "Incorrect API key provided.") -> Fault:
        """The key is refused (401)."""
        return cls._refusal("unauthorized", 401, message, code="invalid_api_key")

    @classmethod
    def unknown_model(cls) -> Fault:
        """The model does not exist (404)."""
        message = "The model does not exist or you do not have access to it."
        return cls._refusal("unknown_model", 404, message, code="model_not_found")

    @classmethod
    def too_long(cls) -> Fault:
        """The prompt is over the context window (400)."""
        message = (
            "This model's maximum context length is 8192 tokens. However, your messages "
            "resulted in 9000 tokens. Please reduce the length of the messages."
        )
        return cls._refusal("too_long", 400, message, code="context_length_exceeded")

    @classmethod
    def slow(cls, seconds: float) -> Fault:
        """The good reply, but late."""
        return cls("slow", delay=seconds)

    @classmethod
    def cut(cls) -> Fault:
        """The connection is reset in the middle of the body."""
        return cls("cut", resets=True)

    @classmethod
    def malformed(cls) -> Fault:
        """A body that is not JSON, with status 200."""
        return cls("malformed", lambda _: b'{"id": "chatcmpl-0", "choices": [')

    @classmethod
    def empty_choices(cls) -> Fault:
        """A reply without any answer in it."""
        return cls("empty_choices", lambda reply: {**reply, "choices": []})

    @classmethod
    def wrong_schema(cls, text: str = '{"unexpected": true}') -> Fault:
        """Another text than the one asked for."""
        return cls.message({"role": "assistant", "content": text}, name="wrong_schema")

    @classmethod
    def message(
        cls, message: Mapping[str, Any], *, finish_reason: str = "stop", name: str = "message"
    ) -> Fault:
        """A message of your own: a refusal, reasoning without content, and so on."""
        told = {"message": message, "finish_reason": finish_reason}
        return cls(name, lambda reply: {**reply, "choices": [{**reply["choices"][0], **told}]})

    @classmethod
    def _refusal(
        cls,
        name: str,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Fault:
        return cls.error(status, message, kind=kind, code=code, headers=headers, name=name)


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
        answer: Words | Callable[[Json], Words] = "yes",
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
        self._requests: list[tuple[Json, dict[str, str]]] = []
        self._running = 0
        self._max_concurrent = 0
        self._error: Exception | None = None
        self._http = _HttpServer(self._respond)

    @property
    def api_base(self) -> str:
        """The address to give to a client, the `/v1` at its end included."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def requests(self) -> list[Json]:
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

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is not None:
            self._error = None  # The failure in the block matters more.
        self.close()

    def _respond(
        self, method: str, path: str, headers: dict[str, str], body: Any
    ) -> tuple[Any, Fault] | None:
        """Return what to send, and how; None hangs up."""
        route = method, path.partition("?")[0]
        if route == ("GET", "/v1/models"):
            return _models_reply(self._models), Fault("none")
        if route != ("POST", "/v1/chat/completions"):
            return _error_reply(f"There is no {method} {path} here."), Fault("none", status=404)
        if not isinstance(body, dict) or body.get("stream"):
            message = "Expected a JSON object without `stream`."
            return _error_reply(message, "invalid_request_error"), Fault("none", status=400)
        with self._lock:
            self._requests.append((body, headers))
            number, fault = len(self._requests), next(self._faults, None) or Fault("none")
            self._running += 1
            self._max_concurrent = max(self._max_concurrent, self._running)
        try:
            return self._reply(number, fault, body)
        finally:
            with self._lock:
                self._running -= 1

    def _reply(self, number: int, fault: Fault, body: Json) -> tuple[Any, Fault] | None:
        if self._closing.wait(self.latency + fault.delay):
            return None
        words: Words = ""
        try:
            if fault.status == 200:
                words = self._answer(body) if callable(self._answer) else self._answer
        except Exception as error:
            self._error = self._error or error
            message = f"The answer of the test failed: {error!r}"
            return _error_reply(message), Fault("none", status=500)
        return fault.change(_chat_reply(body, words, number)), fault


# --- what an OpenAI-compatible server replies ---


def _chat_reply(body: Json, answer: Words, number: int) -> Json:
    """Return a chat completion; one token per word, so that usage is easy to foretell."""
    ranked = [] if isinstance(answer, str) else sorted(answer.items(), key=lambda one: -one[1])
    text = answer if isinstance(answer, str) else ranked[0][0]
    words = text.split()
    prompt_tokens = sum(_count_words(message) for message in body.get("messages", ()))
    completion_tokens = max(1, len(words))
    logprobs = None
    if body.get("logprobs"):
        top = int(body.get("top_logprobs") or 0)
        # A word that is given alone has made-up rivals.
        rivals = [ranked] if ranked else [[(word, _LOGPROB), *_rivals(word, top)] for word in words]
        logprobs = {"content": [_token(choices, top) for choices in rivals], "refusal": None}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "finish_reason": "stop",
        "logprobs": logprobs,
    }
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model", ""),
        "choices": [choice],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _error_reply(message: str, kind: str = "server_error", code: str | None = None) -> Json:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _models_reply(models: tuple[str, ...]) -> Json:
    entries = [{"id": name, "object": "model", "created": 0, "owned_by": "test"} for name in models]
    return {"object": "list", "data": entries}


def _count_words(message: Mapping[str, Any]) -> int:
    content = message.get("content") or ""
    parts = content if isinstance(content, list) else [{"text": content}]
    return sum(len(str(part.get("text", "")).split()) for part in parts)


def _rivals(word: str, top: int) -> list[tuple[str, float]]:
    return [(f"{word}{rank}", _LOGPROB - rank) for rank in range(1, top)]


def _token(choices: list[tuple[str, float]], top: int) -> Json:
    entries = [
        {"token": word, "logprob": logprob, "bytes": list(word.encode())}
        for word, logprob in choices
    ]
    return {**entries[0], "top_logprobs": entries[:top]}


# --- an HTTP server that can always be closed ---


class _HttpServer(ThreadingHTTPServer):
    """One thread per connection on a free port of the loopback interface; `stop` ends them all."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, respond: Callable[..., tuple[Any, Fault] | None]) -> None:
        self.respond = respond
        self._connections: dict[threading.Thread, Any] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_POLL_SECONDS,), name="llm-server", daemon=True
        )
        self._thread.start()

    def server_bind(self) -> None:
        # Without the reverse look-up of the host name that `HTTPServer` does.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._lock:
            self._connections[thread] = request
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.pop(threading.current_thread(), None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet about clients that hang up, which is what timeouts are tested with."""

    def stop(self) -> None:
        """Refuse new connections, cut the open ones and wait for their threads."""
        self.shutdown()
        self._thread.join(_JOIN_SECONDS)
        with self._lock:
            connections = dict(self._connections)
        for connection in connections.values():
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # The client was faster.
        for thread in connections:
            thread.join(_JOIN_SECONDS)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body leave in two writes; without this the second waits for an ACK.
    disable_nagle_algorithm = True
    server: _HttpServer

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        self._answer(body)

    def _answer(self, body: Any) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.respond(self.command, self.path, headers, body)
        if reply is None:
            self.close_connection = True
            return
        payload, fault = reply
        content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.send_response(fault.status)
        for name, value in {"Content-Type": "application/json", **fault.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if fault.resets else content)
        if fault.resets:
            # A linger of zero seconds makes closing send RST instead of FIN.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Write no access log."""
