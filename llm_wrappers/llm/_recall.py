"""Answers that are there already: in this process, or in the store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from llm_wrappers.errors import InvalidAnswerError
from llm_wrappers.llm._question import Question
from llm_wrappers.llm.answer import Answer
from llm_wrappers.llm.cache.store import AnswerStore, Record
from llm_wrappers.llm.completion import Completion
from llm_wrappers.llm.usage import UsageMeter

__all__ = ["Recall"]

_MOST_IN_MEMORY = 10_000


class Recall:
    """Finds recorded answers, the recent ones without a look into the store.

    Args:
        store: The answer cache.
        mode: The mode of the client: ``"off"`` finds nothing, ``"refresh"`` only what this client
            has asked for itself.
    """

    def __init__(self, store: AnswerStore, *, mode: str) -> None:
        self._store = store
        self._mode = mode
        # Without their prompts, which may be long.
        self._recent: OrderedDict[str, Completion] = OrderedDict()
        self._renewed: set[str] = set()
        self._lock = threading.Lock()

    def answer(self, question: Question, meter: UsageMeter, purpose: str) -> Answer[Any] | None:
        """Return the recorded answer of a question, or None; a hit is counted as one.

        Raises:
            InvalidAnswerError: In replay, if the recorded answer does not fit the schema.
        """
        completion = self.completion(question.key)
        if completion is None:
            return None
        try:
            parsed = question.parse(completion.text)
        except InvalidAnswerError as error:
            # The schema has equal JSON but a stricter validator than when this was recorded.
            if self._mode == "replay":
                raise InvalidAnswerError(
                    f"{error}\nIt was recorded in {self._store.location} for "
                    f"{question.request.preview!r}; mode='record' asks for one that fits",
                    text=error.text,
                ) from None
            # Somebody else may have replaced it in the store.
            self._forget(question.key)
            return None
        meter.record_hit(purpose)
        return Answer(completion, key=question.key, parsed=parsed, cached=True)

    def completion(self, key: str) -> Completion | None:
        """Return the recorded answer of a key that may be used in this mode, or None."""
        if self._mode == "off" or (self._mode == "refresh" and key not in self._renewed):
            return None
        with self._lock:
            recent = self._recent.get(key)
            if recent is not None:
                self._recent.move_to_end(key)
                return recent
        record = self._store.get(key)
        return None if record is None else self._hold(key, record.completion)

    def keep(self, record: Record, *, replace: bool) -> Completion:
        """Record an answer for good, and return the one that stands.

        Args:
            record: The new answer.
            replace: Whether it replaces one that is there.
        """
        if self._mode == "off":
            return record.completion
        key = record.key
        standing = self._store.put(record, replace=replace or self._mode == "refresh")
        if self._mode == "refresh":
            self._renewed.add(key)
        return self._hold(key, standing.completion)

    def _hold(self, key: str, completion: Completion) -> Completion:
        with self._lock:
            self._recent[key] = completion
            self._recent.move_to_end(key)
            if len(self._recent) > _MOST_IN_MEMORY:
                self._recent.popitem(last=False)
        return completion

    def _forget(self, key: str) -> None:
        with self._lock:
            self._recent.pop(key, None)
