"""Threads that work through a list of tasks."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

__all__ = ["Workers"]

Task = TypeVar("Task")
Result = TypeVar("Result")

# Ctrl-C cannot end a wait on Windows before the wait is over.
_SLICE = 0.5


class Workers(Generic[Task, Result]):
    """Threads that do tasks in their order until there are none left, or until they are stopped.

    They are daemons, so that a program can end while some of them still wait for a reply.

    Args:
        work: Does one task.
        tasks: The tasks.
        number: How many threads there are.
        stop: When set, no task is begun any more.

    >>> workers = Workers(str.upper, ["a", "b"], number=2, stop=threading.Event())
    >>> sorted(workers.outcomes())
    [('a', 'A'), ('b', 'B')]
    """

    def __init__(
        self,
        work: Callable[[Task], Result],
        tasks: Iterable[Task],
        *,
        number: int,
        stop: threading.Event,
    ) -> None:
        self._work = work
        self._tasks = deque(tasks)
        self._stop = stop
        # None is put by each thread when it ends.
        self._outcomes: queue.SimpleQueue[tuple[Task, Result | BaseException] | None] = (
            queue.SimpleQueue()
        )
        self._threads = [
            threading.Thread(target=self._run, name=f"llm-{place}", daemon=True)
            for place in range(min(number, len(self._tasks)))
        ]

    def outcomes(self) -> Iterator[tuple[Task, Result | BaseException]]:
        """Start, and yield each task that was begun with its result, or with what it raised."""
        for thread in self._threads:
            thread.start()
        running = len(self._threads)
        while running:
            try:
                outcome = self._outcomes.get(timeout=_SLICE)
            except queue.Empty:
                continue
            if outcome is None:
                running -= 1
            else:
                yield outcome

    def wait(self) -> None:
        """Wait for the tasks that were begun."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(_SLICE)

    def _run(self) -> None:
        try:
            self._do_tasks()
        finally:
            self._outcomes.put(None)

    def _do_tasks(self) -> None:
        while not self._stop.is_set():
            try:
                task = self._tasks.popleft()
            except IndexError:
                return
            try:
                outcome: Result | BaseException = self._work(task)
            except BaseException as error:
                outcome = error
            self._outcomes.put((task, outcome))
