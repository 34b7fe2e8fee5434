"""What an answer cache can do, whatever keeps its data, and how an answer is written down."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError

from llm_wrappers.errors import CacheCorruptError, CacheVersionError
from llm_wrappers.llm.answer import Completion
from llm_wrappers.llm.request import Request, canonical_json

__all__ = [
    "AnswerStore",
    "DamagedAnswerError",
    "Failure",
    "Record",
    "StoreBase",
    "line_of",
    "record_of",
]

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

        A claim ends by `release`, by an answer, or when its seconds have passed. Look for the
        answer again afterwards: it may have come just before.
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
        """Return what the cache holds.

        Returns:
            A mapping of `answers` and `failures` (numbers), `bytes` (on the disk, or of the
            answers), `tokens`, `dollars` (of the answers whose price is known), `models` (name ->
            number of answers), `oldest` and `newest` (seconds since 1970, or None).
        """

    def prune(
        self,
        *,
        before: float | None = None,
        model: str | None = None,
        max_entries: int | None = None,
    ) -> int:
        """Delete answers; return how many. Expired failures and claims always go.

        Args:
            before: Delete what is older than this time, in seconds since 1970.
            model: Delete what this model was asked. With `before`, both have to hold.
            max_entries: Of what is left, delete the oldest beyond this number.
        """

    def close(self) -> None:
        """Close connections; a later call opens them again."""


_FORMAT = 1
_FIELDS = {"checksum", "completion", "created", "format", "key", "request"}


def line_of(record: Record) -> str:
    """Return a record as canonical JSON with its key and a checksum.

    The checksum is the SHA-256 of the canonical JSON of everything else. It finds damage; it is
    no signature.
    """
    fields = {**record.model_dump(mode="json"), "format": _FORMAT, "key": record.key}
    return canonical_json({**fields, "checksum": _checksum(fields)})


def record_of(line: str, *, key: str | None = None) -> Record:
    """Return the record of a line, after checking everything that can be checked."""
    fields = _fields_of(line)
    checksum = fields.pop("checksum")
    try:
        intact = checksum == _checksum(fields)
    except ValueError as error:
        raise ValueError("it holds a number that JSON has no form for") from error
    if not intact:
        raise ValueError("its checksum does not match")
    if key not in (None, fields["key"]):
        raise ValueError(f"it belongs to the key {fields['key']}")
    try:
        record = Record.model_validate(
            {name: fields[name] for name in ("request", "completion", "created")}
        )
    except ValidationError as error:
        raise ValueError(f"it holds no record: {_first_reason(error)}") from error
    if record.key != fields["key"]:
        raise ValueError(f"its request has the key {record.key}, not {fields['key']}")
    return record


def _fields_of(line: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    # Nesting without end is not JSON that anybody means.
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not JSON") from error
    if not isinstance(fields, dict) or "format" not in fields:
        raise ValueError("it is not an answer that was exported from a cache")
    version = fields["format"]
    if isinstance(version, int) and version > _FORMAT:
        raise CacheVersionError(
            f"expected an answer of format {_FORMAT}, got format {version}, which a newer version "
            "of this package wrote; run `pip install --upgrade llm-wrappers`"
        )
    if version != _FORMAT or set(fields) != _FIELDS:
        raise ValueError("it is not an answer that was exported from a cache")
    return fields


def _checksum(fields: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(fields).encode()).hexdigest()


def _first_reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


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
