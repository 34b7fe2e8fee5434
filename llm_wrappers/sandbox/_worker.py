"""A process of our own that runs planner code, so that it can be killed."""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_wrappers.errors import GuidanceError, UserError
from llm_wrappers.sandbox._process import read_frame, write_frame

__all__ = ["Worker", "WorkerLostError"]

_SECONDS_TO_END = 1.0
_MOST_BYTES = 64 << 20
# Nothing of the environment reaches planner code, above all no API key. These are what a Python
# or a dynamic linker in an unusual place needs to start at all.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "MONTY_BIN")


class WorkerLostError(GuidanceError):
    """The process died, did not answer in time or answered nonsense; it is gone.

    Args:
        message: What happened.
        unasked: Whether it was gone before the question reached it.
    """

    def __init__(self, message: str, *, unasked: bool = False) -> None:
        super().__init__(message)
        self.unasked = unasked


class Worker:
    """Starts a script as a process and exchanges messages with it.

    The process ends itself when a reply is overdue, so that nobody waits for ever.

    Args:
        script: A script that begins with `_process.begin`.
        options: The first message; plain data. The module search path is added.

    Raises:
        UserError: If the process cannot be started here.
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
        """Return the reply to a message.

        Args:
            what: What to do with the rows.
            rows: The facts of some states; plain data.

        Raises:
            WorkerLostError: If there is no reply; start another worker then.
        """
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
