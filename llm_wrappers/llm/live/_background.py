"""Questions asked while the environment goes on."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from typing import Any, TypeAlias

from llm_wrappers.llm.answer import Answer
from llm_wrappers.llm.live._failures import Failed
from llm_wrappers.llm.request import Prompt

__all__ = ["Background", "Found"]

Found: TypeAlias = "Answer[Any] | Failed"
"""An answer, or what stands in for it."""


class Background:
    """Asks in threads that live only while there is something to ask.

    The threads are daemons, not those of `concurrent.futures`: the interpreter would wait at its
    exit until each of those has its answer. `ask` never raises; `pending` are the questions that
    are asked and not yet taken in.
    """

    def __init__(self, ask: Callable[[Prompt], Found], *, workers: int) -> None:
        self.pending: set[Hashable] = set()
        self._pid = os.getpid()
        self._ask = ask
        self._workers = workers
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._queue: deque[tuple[Hashable, Prompt]] = deque()
        self._arrived: deque[tuple[Hashable, Found]] = deque()

    @property
    def is_alive(self) -> bool:
        """Whether this is its process; in a forked child its threads do not exist."""
        return os.getpid() == self._pid

    @property
    def unfinished(self) -> int:
        """How many questions have no outcome yet."""
        return len(self.pending) - len(self._arrived)

    def submit(self, question: Hashable, prompt: Prompt) -> None:
        """Ask as soon as a thread is free."""
        self.pending.add(question)
        with self._lock:
            if len(self._threads) < self._workers:
                thread = threading.Thread(target=self._work, daemon=True, name="live-source")
                try:
                    thread.start()
                    self._threads.add(thread)
                except RuntimeError as error:
                    if not self._threads:
                        self._arrived.append((question, Failed("ask", error)))
                        return
            self._queue.append((question, prompt))

    def arrivals(self) -> Iterator[tuple[Hashable, Found]]:
        """Yield each question that has an outcome by now, and no longer count it as pending."""
        while self._arrived:
            question, found = self._arrived.popleft()
            self.pending.discard(question)
            yield question, found

    def cancel(self) -> list[Hashable]:
        """Drop what no thread has begun with, and return the questions.

        Takes no lock: it also runs when the source is garbage, in any thread, and at exit.
        """
        questions = []
        while self._queue:
            with suppress(IndexError):
                questions.append(self._queue.popleft()[0])
        self.pending.difference_update(questions)
        return questions

    def close(self, timeout: float) -> None:
        """Drop what no thread has begun with, and wait for the rest, but not for ever."""
        self.cancel()
        deadline = time.monotonic() + timeout
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (job := self._next()) is not None:
            question, prompt = job
            self._arrived.append((question, self._ask(prompt)))

    def _next(self) -> tuple[Hashable, Prompt] | None:
        with self._lock:
            try:
                return self._queue.popleft()
            except IndexError:
                self._threads.discard(threading.current_thread())
                return None
