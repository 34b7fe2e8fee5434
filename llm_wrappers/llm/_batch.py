"""Many questions at once: equal ones together, in threads, until done or interrupted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import Any

from llm_wrappers.errors import BatchError, BudgetExceededError, InvalidRequestError, LLMError
from llm_wrappers.llm._asking import Asking
from llm_wrappers.llm._progress import progress
from llm_wrappers.llm._question import Question
from llm_wrappers.llm._recall import Recall
from llm_wrappers.llm._workers import Workers
from llm_wrappers.llm.answer import Answer
from llm_wrappers.llm.usage import UsageMeter

__all__ = ["Batch"]

_logger = logging.getLogger("llm_wrappers.llm")


class Batch:
    """The distinct questions of one call of `ask_many`, and what became of them.

    Args:
        questions: The questions, in the caller's order.
        recall: Finds recorded answers.
        asking: Asks for the others.
        meter: Counts what is used.
        purpose: Under which name the calls are counted.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        *,
        recall: Recall,
        asking: Asking,
        meter: UsageMeter,
        purpose: str,
    ) -> None:
        self._questions = list(questions)
        self._recall = recall
        self._asking = asking
        self._meter = meter
        self._purpose = purpose
        self._answers: dict[str, Answer[Any]] = {}
        self._errors: dict[str, Exception] = {}

    def run(
        self, *, concurrency: int, progress_bar: bool | None, keep_going: bool, replay: bool
    ) -> list[Answer[Any] | None]:
        """Answer everything that can be answered, and return it in the caller's order.

        Args:
            concurrency: How many threads ask.
            progress_bar: Whether to show one; None decides by length and terminal.
            keep_going: Whether failures give None and not an exception.
            replay: Whether nothing may be asked.

        Raises:
            CacheMissError: In replay, if an answer is missing.
            BatchError: If questions failed and `keep_going` is False.
            LLMWrappersError: What ends the whole batch, as `LLM.ask_many` says.
        """
        missing = self._missing()
        if missing and replay:
            self._asking.refuse_replay(missing)
        if missing:
            with progress(len(missing), progress_bar) as bar:
                self._ask(missing, concurrency=concurrency, keep_going=keep_going, bar=bar)
        if self._errors and not keep_going:
            self._raise_failures()
        return [self._answers.get(question.key) for question in self._questions]

    def _missing(self) -> list[Question]:
        distinct = {question.key: question for question in self._questions}
        for key, question in distinct.items():
            answer = self._recall.answer(question, self._meter, self._purpose)
            if answer is not None:
                self._answers[key] = answer
        return [question for key, question in distinct.items() if key not in self._answers]

    def _ask(
        self, missing: list[Question], *, concurrency: int, keep_going: bool, bar: Any
    ) -> None:
        stop = threading.Event()

        def ask(question: Question) -> Answer[Any]:
            try:
                return self._asking.answer(question, self._purpose, stop)
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
