"""The JSON file of a table of critical states."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import GuidanceFileError, InvalidOptionError
from llm_wrappers.storage.whole_file import write_whole

__all__ = ["plain_provenance", "read_document", "write_document"]

T = TypeVar("T")
_FORMAT = "llm_wrappers/critical-states"
_VERSION = 1
_OPTIONS = ("key", "part", "scales")


def write_document(
    path: str | Path,
    *,
    entries: Sequence[Any],
    states: NDArray[Any],
    actions: NDArray[Any],
    options: Mapping[str, Any],
) -> None:
    """Write critical states, with the types of their numbers, and what else a table is made with.

    Raises:
        GuidanceFileError: If the file cannot be written.
    """
    rows = [
        {
            "state": state.tolist(),
            "action": action.tolist(),
            "reward": entry.reward,
            "rationale": entry.rationale,
            "episode": entry.episode,
            "step": entry.step,
        }
        for entry, state, action in zip(entries, states, actions, strict=True)
    ]
    document = {
        "format": _FORMAT, "version": _VERSION, **options,
        "state_type": states.dtype.name, "action_type": actions.dtype.name, "entries": rows,
    }  # fmt: skip
    write_whole(path, json.dumps(document, indent=1) + "\n")


def read_document(path: str | Path, entry: Callable[..., T]) -> tuple[list[T], dict[str, Any]]:
    """Return the critical states of a file, and what else their table is made with.

    Args:
        path: The file.
        entry: Makes a critical state of the fields of one.

    Raises:
        GuidanceFileError: If the file cannot be read, or holds no such table.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GuidanceFileError(f"cannot read {path}: {error}") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise GuidanceFileError(
            f'{path}: expected a table of critical states with "format": "{_FORMAT}"'
        )
    if document.get("version") != _VERSION:
        raise GuidanceFileError(
            f"{path}: expected version {_VERSION}, got {document.get('version')!r}"
        )
    try:
        types = [_number_type(document[name]) for name in ("state_type", "action_type")]
        entries = [entry(**_fields(row, *types)) for row in document["entries"]]
        options = {name: document[name] for name in _OPTIONS}
        # Tables that were saved before it was there have none.
        return entries, {**options, "provenance": document.get("provenance")}
    except (KeyError, TypeError, ValueError, OverflowError, InvalidOptionError) as error:
        raise GuidanceFileError(
            f"{path}: an entry is malformed: {type(error).__name__}: {error}"
        ) from error


def plain_provenance(provenance: Any) -> dict[str, Any] | None:
    """Return a provenance as JSON holds it: tuples become lists.

    Raises:
        InvalidOptionError: If it is neither None nor a dict of texts to what JSON can hold.

    >>> plain_provenance({"models": ("a", "b")})
    {'models': ['a', 'b']}
    """
    if provenance is None:
        return None
    try:
        if not all(isinstance(key, str) for key in provenance):
            raise TypeError("its keys must be texts")
        plain: dict[str, Any] = json.loads(json.dumps(dict(provenance), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidOptionError(
            f"provenance must be a dict that JSON can hold, or None: {error}"
        ) from error
    return plain


def _fields(row: Mapping[str, Any], state_type: Any, action_type: Any) -> dict[str, Any]:
    fields = dict(row)
    fields["state"] = np.array(fields["state"], dtype=state_type)
    fields["action"] = np.array(fields["action"], dtype=action_type)
    return fields


def _number_type(name: str) -> np.dtype[Any]:
    found = np.dtype(name)
    if found.kind not in "biuf":
        raise ValueError(f"expected a type of numbers, got {name!r}")
    return found
