"""What an answer cache can do, whatever keeps its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict

from llm_wrappers.llm.completion import Completion
from llm_wrappers.llm.request import Request

__all__ = ["AnswerStore", "Failure", "Record"]

Result = TypeVar("Result")
State = dict[str, Any]


class Record(BaseModel):
    """A request with its answer, as the cache keeps it.

    Args:
        request: What was asked.
        completion: What was answered.
        created: When, in seconds since 1970.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: Request
    completion: Completion
    created: float

    @property
    def key(self) -> str:
        """The key of the request."""
        return self.request.key


class Failure(BaseModel):
    """A request that failed and would fail again; remembered until it expires.

    Args:
        kind: The name of the exception class in `llm_wrappers.errors`.
        message: The message of the exception.
        preview: The beginning of the prompt.
        expires: Until when it is remembered, in seconds since 1970.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    message: str
    preview: str
    expires: float


@runtime_checkable
class AnswerStore(Protocol):
    """Answers by key, shared by threads and processes.

    Opens nothing before first use, survives pickling (a copy opens its own connection), and is
    safe to call from many threads.
    """

    @property
    def location(self) -> str:
        """Where the answers are, for messages; never holds a password."""

    def get(self, key: str) -> Record | None:
        """Return the record of a key, or None."""

    def put(self, record: Record, *, replace: bool = False) -> Record:
        """Keep a record; return the one that is kept.

        Without `replace` the first writer wins, so that all processes see the same answer.
        """

    def failure(self, key: str) -> Failure | None:
        """Return the remembered failure of a key that has not expired, or None."""

    def put_failure(self, key: str, failure: Failure) -> None:
        """Remember a failure."""

    def claim(self, key: str, *, owner: str, seconds: float) -> bool:
        """Try to become the one who asks for a key; False while somebody else is.

        A claim ends by `release`, by an answer, or when its seconds have passed.
        """

    def release(self, key: str, *, owner: str) -> None:
        """Give a claim back."""

    def transact(self, name: str, change: Callable[[State], Result]) -> Result:
        """Change a named JSON document, one process at a time, and return what `change` returns.

        Args:
            name: The name of the document; empty when first used.
            change: Changes the dict in place. May run more than once; keep it pure.
        """

    def records(self) -> Iterator[Record]:
        """Iterate over all records, in the order of their keys."""

    def stats(self) -> Mapping[str, Any]:
        """Return what the cache holds: answers, failures, bytes, tokens, dollars, models."""

    def prune(
        self,
        *,
        before: float | None = None,
        model: str | None = None,
        max_entries: int | None = None,
    ) -> int:
        """Delete answers: older than a time, of a model, or the oldest beyond a number.

        Expired failures and claims always go. Returns how many answers were deleted.
        """

    def close(self) -> None:
        """Close connections; a later call opens them again."""
