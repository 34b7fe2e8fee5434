"""The process between this one and Monty: asks Monty for answers and hands on their text.

It is started as a script, with nothing of the package imported, and is the only place that talks
to Monty. Monty's pool does not survive a fork of the process that holds it, and turns whatever a
planner returns into objects of the process that holds it, which can hang; so none of ours does.

A message is four bytes of length, then the bytes.
"""

from __future__ import annotations

import contextlib
import datetime
import faulthandler
import json
import marshal
import os
import signal
import struct
import sys
from collections.abc import Callable
from typing import IO, Any

__all__ = ["read_frame", "write_frame"]

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
    """The two pipes of a process that answers messages."""

    def __init__(self, requests: IO[bytes], replies: IO[bytes]) -> None:
        self._requests = requests
        self._replies = replies

    def reply(self, reply: dict[str, Any]) -> None:
        """Send one reply."""
        write_frame(self._replies, json.dumps(reply).encode())

    def serve(self, answer: Callable[[str, list[Any]], dict[str, Any]], *, seconds: float) -> None:
        """Say that the process is ready, and reply to messages until the other side is gone.

        A reply that is overdue by `seconds` is none: this process dies instead.
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


# Monty names a source after its place among the feeds of its session; the planner is the first.
_PLANNER_FEED = "<python-input-0>"

# Runs inside of Monty. Every answer leaves as JSON on a line of its own, so that what this
# process receives is one text, whatever the planner returned.
_DRIVER = """
import json as _lw_json

_lw_planner = OptimizedGoalGenerator()

def _lw_answer(facts):
    try:
        answer = _lw_planner.generate(facts)
    except Exception as error:
        return "R" + _lw_json.dumps((type(error).__name__, str(error)[:300]))
    try:
        return "A" + _lw_json.dumps(answer)
    except Exception as error:
        return "T" + _lw_json.dumps(type(answer).__name__)

def _lw_compared(facts, before):
    text = _lw_answer(facts)
    return text if facts == before else "C" + text
"""
_ASK = """f'{"\\n".join([_lw_answer(facts) for facts in _lw_batch])}'"""
_COMPARE = """f'{"\\n".join([_lw_compared(*pair) for pair in zip(_lw_batch, _lw_copy)])}'"""
_ASK_AGAIN = "f'{_lw_planner.generate(_lw_batch[0]) and 0}'"


class PlannerSession:
    """One planner in a session of Monty, replaced by a new one whenever it is lost."""

    def __init__(self, monty: Any, pool: Any, options: dict[str, Any]) -> None:
        self._monty = monty
        self._pool = pool
        self._options = options
        self._session: Any = None
        self._holder = contextlib.ExitStack()

    def reply(self, what: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the text of the answers, or how the batch as a whole was lost.

        `what` is ``"ask"``, ``"compare"`` for whether the facts were changed, too, or ``"line"``
        for the line that raises.
        """
        if what == "line":
            return {"line": self._line(rows[0])}
        compare = what == "compare"
        try:
            if self._session is None:
                self._load()
        except Exception as error:
            self._discard()
            return {"load": self._described(error)}
        try:
            text = self._feed(_COMPARE if compare else _ASK, rows, compare)
        except Exception as error:
            self._discard()
            return {"lost": self._described(error)}
        return {"text": text} if len(text) <= self._options["most_text"] * len(rows) else _TOO_LONG

    def _line(self, row: dict[str, Any]) -> int | None:
        try:
            if self._session is None:
                self._load()
            self._feed(_ASK_AGAIN, [row], False)
        except Exception as error:
            described = self._described(error)
            if described["kind"] != "raised":
                self._discard()
            line: int | None = described["line"]
            return line
        return None

    def _load(self) -> None:
        checkout = self._pool.checkout(
            limits={
                "max_feed_duration_secs": self._options["seconds"],
                "max_memory": self._options["memory"],
                "max_recursion_depth": self._options["depth"],
                # A name that does not exist asks the host for it, once per failing call.
                "max_suspensions": 100,
            },
            os_policy={
                "random_start": {"seed": self._options["seed"]},
                "datetime": datetime.datetime(2000 + self._options["seed"] % 1000, 1, 1),
                "sleep": "zero",
            },
        )
        self._session = self._holder.enter_context(checkout)
        # What stands last in a source would become an object of this process.
        self._feed(self._options["source"] + "\nNone\n", [], False)
        self._feed(_DRIVER, [], False)

    def _feed(self, code: str, rows: list[dict[str, Any]], compare: bool) -> str:
        copy = marshal.loads(marshal.dumps(rows)) if compare else []
        printed = self._monty.CollectString(max_bytes=self._options["most_text"])
        inputs = {"_lw_batch": rows, "_lw_copy": copy}
        answer = self._session.feed_run(code, inputs=inputs, print_callback=printed)
        return answer if type(answer) is str else ""

    def _described(self, error: Exception) -> dict[str, Any]:
        kind, line = "crashed", None
        text = str(error)[:300]
        if isinstance(error, self._monty.MontyCrashedError):
            kind = "timeout" if error.timed_out else "crashed"
        elif isinstance(error, self._monty.MontyRuntimeError | self._monty.MontySyntaxError):
            text = error.display("type-msg")[:300]
            # What the planner raises itself is caught inside of Monty; these are its limits.
            limits = {"TimeoutError": "timeout", "MemoryError": "memory"}
            kind = limits.get(text.partition(":")[0], "raised")
            lines = [frame.line for frame in error.traceback() if frame.filename == _PLANNER_FEED]
            line = lines[-1] if lines else None
        if kind == "timeout":
            text = f"took more than {self._options['seconds']:g} seconds"
        elif kind == "memory":
            text = f"used more than {self._options['memory'] >> 20} MB of memory"
        return {"kind": kind, "message": text, "line": line}

    def _discard(self) -> None:
        self._session = None
        # Giving back a session whose worker is dead fails; the pool replaces the worker anyway.
        with contextlib.suppress(Exception):
            self._holder.close()


_TOO_LONG = {
    "lost": {"kind": "answer", "message": "the answer is too long to be read", "line": None}
}


def main() -> None:
    """Answer messages until the other side is gone."""
    pipes, options = begin()
    with contextlib.ExitStack() as stack:
        try:
            import pydantic_monty

            pool = stack.enter_context(_pool(pydantic_monty, options))
        except Exception as error:
            pipes.reply({"broken": f"{type(error).__name__}: {error}"})
            return
        session = PlannerSession(pydantic_monty, pool, options)
        pipes.serve(session.reply, seconds=options["overdue"])


def _pool(monty: Any, options: dict[str, Any]) -> Any:
    return monty.Monty(
        min_processes=1,
        max_processes=1,
        request_timeout=options["seconds"] + options["grace"],
        feed_duration_limit_grace=options["grace"],
    )


if __name__ == "__main__":
    main()
