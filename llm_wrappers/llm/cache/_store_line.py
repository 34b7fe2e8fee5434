"""A record as one line of text: the same in a row of SQLite, in Redis and in an export."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import ValidationError

from llm_wrappers.errors import CacheVersionError
from llm_wrappers.llm.cache.store import Record
from llm_wrappers.llm.request import canonical_json

__all__ = ["line_of", "record_of"]

_FORMAT = 1
_FIELDS = {"checksum", "completion", "created", "format", "key", "request"}


def line_of(record: Record) -> str:
    """Return a record as canonical JSON with its key and a checksum.

    The checksum is the SHA-256 of the canonical JSON of everything else. It finds damage; it is
    no signature.

    >>> from llm_wrappers.llm.completion import Completion
    >>> from llm_wrappers.llm.request import Request
    >>> asked = Request(model="openai/gpt-5-mini", messages=())
    >>> record = Record(request=asked, completion=Completion(text="yes"), created=0.0)
    >>> record_of(line_of(record)) == record
    True
    """
    fields = {**record.model_dump(mode="json"), "format": _FORMAT, "key": record.key}
    return canonical_json({**fields, "checksum": _checksum(fields)})


def record_of(line: str, *, key: str | None = None) -> Record:
    """Return the record of a line, after checking everything that can be checked.

    Args:
        line: What `line_of` returned.
        key: The key under which the line was kept; None if only the line knows.

    Raises:
        CacheVersionError: If a newer version of this package wrote the line.
        ValueError: If the line is damaged; the message says in which way.
    """
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
