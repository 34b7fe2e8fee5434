"""Answers that are there already: in this process, or in the store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from llm_wrappers.errors import InvalidAnswerError
from llm_wrappers.llm._question import Question
from llm_wrappers.llm.answer import Answer
from llm_wrappers.llm.store import AnswerStore, Record
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
        self._recent: OrderedDict[str, Record] = OrderedDict()
        self._renewed: set[str] = set()
        self._lock = threading.Lock()

    def answer(self, question: Question, meter: UsageMeter, purpose: str) -> Answer[Any] | None:
        """Return the recorded answer of a question, or None; a hit is counted as one."""
        record = self.record(question.key)
        if record is None:
            return None
        try:
            parsed = question.parse(record.completion.text)
        except InvalidAnswerError:
            # The schema has equal JSON but a stricter validator than when this was recorded.
            if self._mode == "replay":
                raise
            return None
        meter.record_hit(purpose)
        return Answer(record.completion, key=question.key, parsed=parsed, cached=True)

    def record(self, key: str) -> Record | None:
        """Return the record of a key that may be used in this mode, or None."""
        if self._mode == "off" or (self._mode == "refresh" and key not in self._renewed):
            return None
        with self._lock:
            record = self._recent.get(key)
            if record is not None:
                self._recent.move_to_end(key)
                return record
        record = self._store.get(key)
        if record is not None:
            self._hold(key, record)
        return record

    def keep(self, record: Record, *, replace: bool) -> Record:
        """Record an answer for good, and return the one that stands.

        Args:
            record: The new answer.
            replace: Whether it replaces one that is there.
        """
        if self._mode == "off":
            return record
        standing = self._store.put(record, replace=replace or self._mode == "refresh")
        self._renewed.add(record.key)
        self._hold(record.key, standing)
        return standing

    def _hold(self, key: str, record: Record) -> None:
        with self._lock:
            self._recent[key] = record
            self._recent.move_to_end(key)
            if len(self._recent) > _MOST_IN_MEMORY:
                self._recent.popitem(last=False)
