"""What is in an answer cache, as text for people."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from typing import Any

from llm_wrappers.llm.cache.store import Record
from llm_wrappers.llm.request import canonical_json

__all__ = ["printable", "record_text", "searchable", "stats_text"]

_WIDTH = 10
# A model's answer could otherwise move the cursor, or rename the terminal.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    r"""Return a text that any terminal can show and none obeys.

    >>> print(printable("red: \x1b[31m"))
    red: \x1b[31m
    """
    shown = _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def stats_text(location: str, stats: Mapping[str, Any]) -> str:
    """Return the statistics of a cache as a table."""
    rows = [
        ("cache", location),
        ("answers", f"{stats['answers']:,}"),
        ("failures", f"{stats['failures']:,} remembered"),
        ("size", f"{stats['bytes']:,} bytes"),
        ("tokens", f"{stats['tokens']:,}"),
        ("dollars", f"{stats['dollars']:,.4f} (where the price is known)"),
        ("oldest", _moment(stats["oldest"])),
        ("newest", _moment(stats["newest"])),
        *(("model", f"{name}: {number:,}") for name, number in stats["models"].items()),
    ]
    return printable("\n".join(f"{name:<{_WIDTH}}{text}" for name, text in rows))


def record_text(record: Record) -> str:
    """Return a request with its answer."""
    request, said = record.request, record.completion
    rows = {
        "key": record.key,
        "model": request.model,
        "answered": f"by {said.model or request.model} on {_moment(record.created)}",
        "cost": f"{said.tokens:,} tokens, {_price(said.dollars)}, {said.seconds:.1f} s",
        "finish": said.finish_reason,
        "params": canonical_json(request.params) if request.params else "",
        "schema": canonical_json(request.answer_schema) if request.answer_schema else "",
        "sample": str(request.sample) if request.sample else "",
        "version": request.prompt_version,
    }
    head = "\n".join(f"{name:<{_WIDTH}}{text}" for name, text in rows.items() if text)
    turns = [(str(message.get("role", "")), message.get("content")) for message in request.messages]
    body = "\n".join(f"--- {role}\n{_content(text)}" for role, text in turns)
    return printable(f"{head}\n{body}\n--- answer\n{said.text}\n")


def searchable(record: Record) -> str:
    """Return all text of a request and its answer, in lower case."""
    contents = [_content(message.get("content")) for message in record.request.messages]
    return "\n".join([record.request.model, *contents, record.completion.text]).lower()


def _content(content: Any) -> str:
    return content if isinstance(content, str) else canonical_json(content)


def _price(dollars: float | None) -> str:
    return "price unknown" if dollars is None else f"${dollars:.6f}"


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
