"""Asking planner code in a process of its own, that can be killed and replaced."""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from llm_wrappers.errors import GuidanceError, UserError
from llm_wrappers.sandbox._monty_process import read_frame, write_frame
from llm_wrappers.sandbox.answers import PlannerFailure, checked_answer, one_line, with_article

__all__ = ["Answer", "Conversation", "Worker", "WorkerLostError"]

_SECONDS_TO_END = 1.0
_MOST_BYTES = 64 << 20
# Nothing of the environment reaches planner code, above all no API key. These are what a Python
# or a dynamic linker in an unusual place needs to start at all.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "MONTY_BIN")


class WorkerLostError(GuidanceError):
    """The process is gone: it died, was overdue or answered nonsense."""

    def __init__(self, message: str, *, unasked: bool = False) -> None:
        super().__init__(message)
        self.unasked = unasked


class Worker:
    """Starts a script, one that begins as `_monty_process` does, and exchanges messages with it.

    The process ends itself when a reply is overdue, so that nobody waits for ever.
    """

    def __init__(self, script: Path, options: Mapping[str, Any]) -> None:
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            # Unbuffered, so that a fork in the middle of a message cannot send half of it twice.
            self._process = subprocess.Popen(
                [sys.executable or "python", "-B", "-s", str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=passed_on,
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(f"cannot start {sys.executable} for planner code: {error}") from None
        self._finalizer = weakref.finalize(self, _end, self._process, os.getpid())
        reply = self._exchange({**options, "path": sys.path})
        if "broken" in reply:
            self.close()
            raise UserError(f"the process for planner code cannot start: {reply['broken']}")

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_open(self) -> bool:
        """Whether it can be asked: it was not closed and has not died."""
        return self._finalizer.alive and self._process.poll() is None

    def ask(self, what: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the reply to what to do with some rows, or raise a WorkerLostError."""
        return self._exchange((what, rows))

    def close(self) -> None:
        """End the process; harmless when it has ended."""
        self._finalizer()

    def _exchange(self, message: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            write_frame(self._process.stdin, marshal.dumps(message))
            reply = read_frame(self._process.stdout, most=_MOST_BYTES)
            if reply is None:
                raise WorkerLostError(f"the process that runs the planner {self._ended()}")
            found: dict[str, Any] = json.loads(reply)
            return found
        except BaseException as error:
            # After an interrupt, too: its next reply would be the one to this message.
            _kill(self._process)
            self.close()
            if not isinstance(error, OSError | ValueError):
                raise
            raise WorkerLostError(
                f"the process that runs the planner ended ({error})",
                unasked=isinstance(error, BrokenPipeError),
            ) from None

    def _ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_SECONDS_TO_END)
        overdue = hasattr(signal, "SIGALRM") and self._process.returncode == -signal.SIGALRM
        return "did not answer in time" if overdue else "ended"


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """Let the process end by itself, or kill it."""
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            pipe.close()  # type: ignore[union-attr]
    if os.getpid() != owner:
        # A fork has copies of the pipes and of nothing else: the process is its parent's.
        process.returncode = 0
        return
    try:
        process.wait(timeout=_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            # Monty's process is in the same group.
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


Answer: TypeAlias = "list[tuple[str, float]] | PlannerFailure"

_MOST_STATES_AT_ONCE = 64
_LOSSES = frozenset({"timeout", "memory", "crashed"})


class Conversation:
    """One process that runs one planner: started when needed, replaced when lost."""

    def __init__(self, start: Callable[[], Worker], *, patience: int) -> None:
        self.owner = os.getpid()
        self._start = start
        self._patience = patience
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._losses = 0
        self._broken: PlannerFailure | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process, while there is one."""
        return None if self._worker is None else self._worker.pid

    def answers(self, rows: list[dict[str, Any]], *, compare: bool = False) -> list[Answer]:
        """Return the answer for each state, or why there is none: see `MontyRuntime.answers`."""
        what = "compare" if compare else "ask"
        answers: list[Answer] = []
        with self._lock:
            for start in range(0, len(rows), _MOST_STATES_AT_ONCE):
                answers += self._batch(what, rows[start : start + _MOST_STATES_AT_ONCE])
        return answers

    def close(self) -> None:
        """End the process; the next question starts another."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _batch(self, what: str, rows: list[dict[str, Any]]) -> list[Answer]:
        if self._broken is not None:
            return [self._broken] * len(rows)
        reply = self._reply(what, rows)
        if "text" in reply:
            self._losses = 0
            return self._read(reply, rows)
        lost = _failure(reply.get("lost") or reply["load"])
        if "load" in reply and lost.kind not in _LOSSES:
            self._broken = PlannerFailure(
                "load", f"cannot be loaded: {lost.message}", line=lost.line
            )
            return [self._broken] * len(rows)
        if len(rows) > 1:
            return [answer for row in rows for answer in self._batch(what, [row])]
        self._losses += lost.kind in _LOSSES
        if self._losses >= self._patience:
            self._broken = PlannerFailure(
                "given up",
                f"not asked any more: {self._losses} states in a row cost the process that runs "
                f"the planner; the last one {lost.message}",
                line=lost.line,
            )
        return [lost]

    def _reply(
        self, what: str, rows: list[dict[str, Any]], *, again: bool = True
    ) -> dict[str, Any]:
        try:
            if self._worker is None or not self._worker.is_open:
                self._worker = self._start()
            return self._worker.ask(what, rows)
        except WorkerLostError as error:
            self.close()
            if error.unasked and again:
                return self._reply(what, rows, again=False)
            return {"lost": {"kind": "crashed", "message": str(error), "line": None}}
        except UserError as error:
            self._broken = PlannerFailure("load", str(error))
            raise

    def _read(self, reply: dict[str, Any], rows: list[dict[str, Any]]) -> list[Answer]:
        lines = reply["text"].split("\n")
        if len(lines) != len(rows):
            wrong = PlannerFailure("answer", "the planner changes how its answers are sent")
            return [wrong] * len(rows)
        # These come from the process itself, which the planner cannot speak for.
        failures = reply.get("failures", {})
        return [
            _failure(failures[str(position)])
            if str(position) in failures
            else self._answer(line, rows[position])
            for position, line in enumerate(lines)
        ]

    def _answer(self, line: str, row: dict[str, Any]) -> Answer:
        changed = line.startswith("C")
        kind, text = line[changed : changed + 1], line[changed + 1 :]
        try:
            value = json.loads(text)
            if kind == "R":
                return self._raised(value, row)
            if kind != "A":
                kind_of_answer = with_article(one_line(str(value), most=60))
                return PlannerFailure(
                    "answer", f"expected a list of (goal, weight) pairs, got {kind_of_answer}"
                )
            answer = checked_answer(value)
        except GuidanceError as error:
            return PlannerFailure("answer", str(error))
        except (ValueError, TypeError, RecursionError):
            return PlannerFailure("answer", "the answer cannot be read")
        return PlannerFailure("mutated", "changes the facts it is given") if changed else answer

    def _raised(self, value: Any, row: dict[str, Any]) -> PlannerFailure:
        name, message = (one_line(str(part), most=300) for part in value)
        line = self._reply("line", [row]).get("line")
        described = f"{name}: {message}" if message else name
        return PlannerFailure("raised", described, line=line if type(line) is int else None)


def _failure(described: dict[str, Any]) -> PlannerFailure:
    return PlannerFailure(described["kind"], described["message"], line=described["line"])
