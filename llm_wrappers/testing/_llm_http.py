"""A small HTTP server on the loopback interface that can always be closed."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

__all__ = ["HttpReply", "LoopbackHttpServer"]

_POLL_SECONDS = 0.02
_JOIN_SECONDS = 5.0


@dataclass(frozen=True)
class HttpReply:
    """What is sent back.

    Args:
        payload: JSON, or bytes that are sent as they are.
        status: The HTTP status.
        headers: More headers.
        resets: Whether to reset the connection in the middle of the body.
    """

    payload: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    resets: bool = False


Respond = Callable[[str, str, "dict[str, str]", Any], "HttpReply | None"]
"""Method, path, headers (names in lower case) and JSON body -> reply; None hangs up."""


class LoopbackHttpServer(ThreadingHTTPServer):
    """One thread per connection on a free port of 127.0.0.1; `stop` ends them all.

    Args:
        respond: Answers a request; called from many threads.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self._connections: dict[threading.Thread, Any] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_POLL_SECONDS,), name="llm-server", daemon=True
        )
        self._thread.start()

    def server_bind(self) -> None:
        """Bind without the reverse look-up of the host name that `HTTPServer` does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own that `stop` knows of."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._lock:
            self._connections[thread] = request
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, and forget it."""
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
    server: LoopbackHttpServer

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
        elif reply.resets:
            self._send(reply, cut_to=0.5)
            self._reset()
        else:
            self._send(reply)

    def _send(self, reply: HttpReply, *, cut_to: float = 1.0) -> None:
        payload = reply.payload
        content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: int(len(content) * cut_to)])

    def _reset(self) -> None:
        # A linger of zero seconds makes closing send RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Write no access log."""
