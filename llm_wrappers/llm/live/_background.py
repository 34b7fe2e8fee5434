"""Questions asked while the environment goes on."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from llm_wrappers.llm.live._failures import Failed
from llm_wrappers.llm.live._questions import Outcome
from llm_wrappers.llm.request import Prompt

__all__ = ["Background"]


class Background:
    """Asks in threads that live only while there is something to ask.

    The threads are daemons, not those of `concurrent.futures`: the interpreter would wait at its
    exit until each of those has its answer.

    Args:
        ask: Asks one question; never raises.
        workers: How many threads at most.

    Attributes:
        pending: The texts that are asked about and not yet taken in.
        pid: The process it belongs to; in a forked child its threads do not exist.
    """

    def __init__(self, ask: Callable[[Prompt], Outcome], *, workers: int) -> None:
        self.pending: set[str] = set()
        self.pid = os.getpid()
        self._ask = ask
        self._workers = workers
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._queue: deque[tuple[str, Prompt]] = deque()
        self._arrived: deque[tuple[str, Outcome]] = deque()

    @property
    def unfinished(self) -> int:
        """How many texts have no outcome yet."""
        return len(self.pending) - len(self._arrived)

    def submit(self, text: str, prompt: Prompt) -> None:
        """Ask about a text as soon as a thread is free."""
        self.pending.add(text)
        with self._lock:
            if len(self._threads) < self._workers:
                thread = threading.Thread(target=self._work, daemon=True, name="live-source")
                try:
                    thread.start()
                    self._threads.add(thread)
                except RuntimeError as error:
                    if not self._threads:
                        self._arrived.append((text, Failed("ask", error)))
                        return
            self._queue.append((text, prompt))

    def arrivals(self) -> Iterator[tuple[str, Outcome]]:
        """Yield each text that has an outcome by now, and no longer count it as pending."""
        while self._arrived:
            text, outcome = self._arrived.popleft()
            self.pending.discard(text)
            yield text, outcome

    def cancel(self) -> list[str]:
        """Drop what no thread has begun with, and return the texts.

        Takes no lock: it also runs when the source is garbage, in any thread, and at exit.
        """
        texts = []
        while self._queue:
            with suppress(IndexError):
                texts.append(self._queue.popleft()[0])
        self.pending.difference_update(texts)
        return texts

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
            text, prompt = job
            self._arrived.append((text, self._ask(prompt)))

    def _next(self) -> tuple[str, Prompt] | None:
        with self._lock:
            try:
                return self._queue.popleft()
            except IndexError:
                self._threads.discard(threading.current_thread())
                return None
