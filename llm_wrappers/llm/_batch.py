"""Many questions at once: equal ones together, in threads, until done or interrupted."""

from __future__ import annotations

import logging
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from importlib.util import find_spec
from typing import Any, Generic, TypeVar

from llm_wrappers.errors import (
    BatchError,
    BudgetExceededError,
    InvalidRequestError,
    LLMError,
    require,
)
from llm_wrappers.llm._asking import Asker, Recall
from llm_wrappers.llm._questions import TypedRequest
from llm_wrappers.llm.answer import Answer

__all__ = ["Batch", "Workers", "progress"]

Task = TypeVar("Task")
Result = TypeVar("Result")

# Ctrl-C cannot end a wait on Windows before the wait is over.
_SLICE = 0.5


class Workers(Generic[Task, Result]):
    """Threads that do tasks in their order until there are none left, or until they are stopped.

    They are daemons, so that a program can end while some of them still wait for a reply.
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


_LONG_ENOUGH_FOR_A_BAR = 20


def progress(total: int, wanted: bool | None) -> Any:
    """Return a context manager with `update()`: a bar of tqdm, or one that shows nothing."""
    if wanted is None:
        on_terminal = sys.stderr is not None and sys.stderr.isatty()
        wanted = total >= _LONG_ENOUGH_FOR_A_BAR and on_terminal and find_spec("tqdm") is not None
    if not wanted:
        return _NoBar()
    return require("tqdm", extra="llm").tqdm(total=total, desc="asking", unit="prompt")


class _NoBar:
    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def update(self) -> None:
        return None


_logger = logging.getLogger("llm_wrappers.llm")


class Batch:
    """The distinct questions of one call of `ask_many`, and what became of them."""

    def __init__(
        self,
        questions: Sequence[TypedRequest],
        *,
        recall: Recall,
        asker: Asker,
        purpose: str,
    ) -> None:
        self._questions = list(questions)
        self._recall = recall
        self._asker = asker
        self._purpose = purpose
        self._answers: dict[str, Answer[Any]] = {}
        self._errors: dict[str, Exception] = {}

    def run(
        self, *, concurrency: int, progress_bar: bool | None, keep_going: bool, replay: bool
    ) -> list[Answer[Any] | None]:
        """Answer everything that can be answered, and return it in the caller's order."""
        missing = self._missing()
        if missing and replay:
            self._asker.refuse_replay(missing)
        if missing:
            with progress(len(missing), progress_bar) as bar:
                self._ask(missing, concurrency=concurrency, keep_going=keep_going, bar=bar)
        if self._errors and not keep_going:
            self._raise_failures()
        return [self._answers.get(question.key) for question in self._questions]

    def _missing(self) -> list[TypedRequest]:
        distinct = {question.key: question for question in self._questions}
        for key, question in distinct.items():
            answer = self._recall.answer(question, self._purpose)
            if answer is not None:
                self._answers[key] = answer
        return [question for key, question in distinct.items() if key not in self._answers]

    def _ask(
        self, missing: list[TypedRequest], *, concurrency: int, keep_going: bool, bar: Any
    ) -> None:
        stop = threading.Event()

        def ask(question: TypedRequest) -> Answer[Any]:
            try:
                return self._asker.answer(question, self._purpose, stop)
            except Exception as error:
                # Said here and not where results are taken, so that no thread begins another one.
                if not _fails_alone(error, keep_going):
                    stop.set()
                raise

        workers = Workers(ask, missing, number=concurrency, stop=stop)
        try:
            for question, outcome in workers.outcomes():
                self._take(question.key, outcome, keep_going=keep_going)
                bar.update()
        except BaseException as error:
            stop.set()
            if isinstance(error, KeyboardInterrupt):
                _logger.warning(
                    "interrupted: waiting for the answers under way, which are paid for; "
                    "Ctrl-C once more gives them up"
                )
            workers.wait()
            raise

    def _take(self, key: str, outcome: Answer[Any] | BaseException, *, keep_going: bool) -> None:
        if isinstance(outcome, Answer):
            self._answers[key] = outcome
        elif isinstance(outcome, Exception) and _fails_alone(outcome, keep_going):
            self._errors[key] = outcome
        elif not isinstance(outcome, CancelledError):
            # Those that were stopped say nothing; the one that stopped them comes as well.
            raise outcome

    def _raise_failures(self) -> None:
        errors = {
            position: self._errors[question.key]
            for position, question in enumerate(self._questions)
            if question.key in self._errors
        }
        first = next(iter(errors.values()))
        if len({question.key for question in self._questions}) == 1:
            raise first
        raise BatchError(
            f"{len(errors)} of {len(self._questions)} prompts failed, the others are answered and "
            f"kept (see .answers and .errors); the first: {type(first).__name__}: {first}",
            answers=[self._answers.get(question.key) for question in self._questions],
            errors=errors,
        ) from first


def _fails_alone(error: Exception, keep_going: bool) -> bool:
    """Return whether the other questions of the batch may still be answered."""
    if isinstance(error, BudgetExceededError):
        # The others are refused as well, unless they are cheaper.
        return keep_going
    return isinstance(error, LLMError | InvalidRequestError)
