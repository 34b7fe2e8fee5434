"""What the stores of this package do in the same way."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, TypeVar

from llm_wrappers.errors import CacheCorruptError
from llm_wrappers.llm.cache._store_line import record_of
from llm_wrappers.llm.cache.store import Failure, Record, State

__all__ = ["DamagedAnswerError", "StoreBase"]

Store = TypeVar("Store", bound="StoreBase")


class DamagedAnswerError(CacheCorruptError):
    """One answer is damaged; the cache is well otherwise, and nothing was changed."""


class StoreBase(ABC):
    """Reads what was kept as text, and stands for itself when it is copied."""

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the answers are, for messages; never holds a password."""

    def _record(self, key: str, line: str) -> Record:
        try:
            return record_of(line, key=key)
        except ValueError as error:
            raise DamagedAnswerError(
                f"the answer with the key {key} in {self.location} is damaged: {error}. It is not "
                "used, and the model is not asked again. Bring it back with `llm-wrappers cache "
                f"import {self.location} EXPORT.jsonl`, or delete all damaged answers with "
                f"`llm-wrappers cache prune {self.location} --damaged`"
            ) from error

    def _intact(self, key: str, line: str | None) -> Record | None:
        try:
            return None if line is None else self._record(key, line)
        except DamagedAnswerError:
            return None

    def _failure(self, body: str | None) -> Failure | None:
        try:
            return None if body is None else Failure.model_validate_json(body)
        except ValueError:
            # A note that cannot be read warns of nothing.
            return None

    def _state(self, name: str, body: str | None) -> State:
        try:
            state = {} if body is None else json.loads(body)
        except ValueError:
            state = None
        if not isinstance(state, dict):
            raise CacheCorruptError(
                f"the document {name!r} in {self.location} is damaged; begin a new cache and bring "
                f"the answers over with `llm-wrappers cache import NEW_CACHE {self.location}`"
            )
        return state

    # A copy of what uses a cache uses the same cache.
    def __copy__(self: Store) -> Store:
        return self

    def __deepcopy__(self: Store, memo: dict[int, Any]) -> Store:
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.location!r})"
