"""What the processes that run planner code have in common: messages on pipes, and limits.

A message is four bytes of length, then the bytes. The processes load this file on its own, so it
imports nothing of the package.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import marshal
import os
import signal
import struct
import sys
from collections.abc import Callable
from typing import IO, Any

__all__ = ["Pipes", "begin", "read_frame", "write_frame"]

_LENGTH = struct.Struct("!I")
_MOST_BYTES_OF_REQUEST = 1 << 30
_MOST_BYTES_OF_MEMORY = 4 << 30
_SECONDS_TO_START = 60.0


def write_frame(pipe: IO[bytes], message: bytes) -> None:
    """Write one message to an unbuffered pipe."""
    waiting = memoryview(_LENGTH.pack(len(message)) + message)
    while waiting:
        waiting = waiting[pipe.write(waiting) :]


def read_frame(pipe: IO[bytes], *, most: int = _MOST_BYTES_OF_REQUEST) -> bytes | None:
    """Return the next message, or None where the other side is gone.

    Raises:
        ValueError: If it is announced as longer than `most` bytes.
    """
    head = _read(pipe, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > most:
        raise ValueError(f"a message of {length} bytes, where at most {most} are expected")
    return _read(pipe, length)


class Pipes:
    """The two pipes of a process that answers messages.

    Args:
        requests: Where messages come from.
        replies: Where their replies go to.
    """

    def __init__(self, requests: IO[bytes], replies: IO[bytes]) -> None:
        self._requests = requests
        self._replies = replies

    def reply(self, reply: dict[str, Any]) -> None:
        """Send one reply."""
        write_frame(self._replies, json.dumps(reply).encode())

    def serve(self, answer: Callable[[str, list[Any]], dict[str, Any]], *, seconds: float) -> None:
        """Say that the process is ready, and reply to messages until the other side is gone.

        Args:
            answer: From a message, what to do with which states, to the reply.
            seconds: When a reply is overdue and this process dies instead.
        """
        self.reply({})
        _die_after(0)
        while (message := read_frame(self._requests)) is not None:
            _die_after(seconds)
            reply = answer(*marshal.loads(message))
            _die_after(0)
            self.reply(reply)


def begin() -> tuple[Pipes, dict[str, Any]]:
    """Begin the life of a process: return its pipes and the first message.

    From here on it can write no file and dump no core, its memory has an end, and it dies if it
    is not ready in time.
    """
    # What is printed by anybody else must not get between the messages.
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    requests = os.fdopen(0, "rb", buffering=0)
    first = read_frame(requests)
    if first is None:
        sys.exit(0)
    options: dict[str, Any] = marshal.loads(first)
    sys.path[:] = options["path"]
    _die_after(_SECONDS_TO_START)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES_OF_MEMORY, _MOST_BYTES_OF_MEMORY))
    return Pipes(requests, replies), options


def _die_after(seconds: float) -> None:
    """End this process after some time, whatever it does then; 0 for never."""
    if hasattr(signal, "setitimer"):
        # The signal is not handled, so that it ends even a process that is busy in C code.
        signal.setitimer(signal.ITIMER_REAL, seconds)
    elif seconds:
        faulthandler.dump_traceback_later(seconds, exit=True)
    else:
        faulthandler.cancel_dump_traceback_later()


def _read(pipe: IO[bytes], length: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < length:
        part = pipe.read(length - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)
