"""A run report as a text for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm_wrappers.scores import format_table

__all__ = ["summary_of"]

_COLUMNS = ("calls", "cache_hits", "failures", "tokens", "dollars")
_UNKNOWN = "unknown"


def summary_of(report: Mapping[str, Any]) -> str:
    """Return the figures of a report in a few lines and tables.

    Args:
        report: The report, as plain JSON data.
    """
    steps, seconds = report["env_steps"], report["seconds"]
    speed = report["steps_per_second"] or 0.0
    blocks = [
        f"Training {report['status']}: {steps['run']:,} environment steps in "
        f"{seconds['run']:.1f} s ({speed:,.0f} per second); {steps['reported']:,} steps in all"
    ]
    if report["guidance"]:
        blocks.append(format_table(list(_guidance_rows(report["guidance"]))))
    if report["llm"]["training"] is not None or report["llm"]["authoring"]:
        blocks.append(format_table(list(_llm_rows(report["llm"]))))
    return "\n\n".join(blocks)


def _guidance_rows(guidance: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for part in ("counters", "latest"):
        for wrapper, values in guidance[part].items():
            for name, value in _flat(values):
                yield {"wrapper": wrapper, "what": name, "value": value}


def _llm_rows(llm: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    training, rates = llm["training"], llm["per_1m_env_steps"]
    for purpose, counts in (training or {}).get("purposes", {}).items():
        yield _row(f"training: {purpose}", counts)
    if training is not None:
        yield _row("training", training["total"])
        yield _row("training, per 1,000,000 steps", rates["training"])
    for entry in llm["authoring"]:
        used = entry["usage"]
        yield _row(f"writing, by {entry['author']}", None if used is None else used["total"])
    if llm["authoring"]:
        yield _row("with writing, per 1,000,000 steps", rates["with_authoring"])


def _row(name: str, counts: Mapping[str, Any] | None) -> dict[str, Any]:
    if counts is None:
        return {"language model": name, **dict.fromkeys(_COLUMNS, _UNKNOWN)}
    shown = {column: counts.get(column) for column in _COLUMNS}
    if shown["dollars"] is None:
        shown["dollars"] = _UNKNOWN
    return {"language model": name, **shown}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}: ")
        else:
            yield f"{prefix}{name}", value
