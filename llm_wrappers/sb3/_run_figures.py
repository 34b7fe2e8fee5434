"""The figures of a run report: plain functions from counters to JSON data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.artefact import GuidanceArtefact
from llm_wrappers.llm.usage import Counts, Usage
from llm_wrappers.sandbox.source import hash_of

__all__ = [
    "added",
    "authoring_entry",
    "counters",
    "counts_as_json",
    "counts_from_json",
    "per_million",
    "settings",
    "subtracted",
    "summed",
    "usage_as_json",
    "usage_from_json",
]

_MILLION = 1_000_000
_HAND = "hand"


def counters(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole numbers of nested statistics, which count something.

    >>> counters({"Mask": {"states": 4, "xi": 0.5, "goals": {"eat": 3}}})
    {'Mask': {'states': 4, 'goals': {'eat': 3}}}
    """
    return _only(stats, int)


def settings(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the other numbers, which are as they are now, as their means over the rows.

    >>> settings([{"Mask": {"states": 4, "xi": 0.5}}, {"Mask": {"states": 2, "xi": 1.0}}])
    {'Mask': {'xi': 0.75}}
    """
    return _combined([_only(row, float) for row in rows], lambda values: sum(values) / len(values))


def summed(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums of nested counters.

    >>> summed([{"Mask": {"states": 4}}, {"Mask": {"states": 2}, "Goal": {"failures": 1}}])
    {'Mask': {'states': 6}, 'Goal': {'failures': 1}}
    """
    return _combined(list(rows), sum)


def subtracted(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return what nested counters counted since an earlier moment.

    >>> subtracted({"Mask": {"states": 4}}, {"Mask": {"states": 1}})
    {'Mask': {'states': 3}}
    """
    return {
        name: subtracted(value, before.get(name, {}))
        if isinstance(value, Mapping)
        else value - before.get(name, 0)
        for name, value in now.items()
    }


def added(one: Usage, other: Usage) -> Usage:
    """Return what was used in two periods together.

    >>> once = Usage((("judge", Counts(calls=2)),))
    >>> added(once, once)["judge"].calls
    4
    """
    return one - (Usage() - other)


def usage_as_json(usage: Usage) -> dict[str, Any]:
    """Return usage as it stands in a report."""
    return {
        "total": counts_as_json(usage.total),
        "purposes": {purpose: counts_as_json(counts) for purpose, counts in usage.rows},
    }


def usage_from_json(data: Mapping[str, Any]) -> Usage:
    """Return the usage that `usage_as_json` or `Usage.as_dict` wrote down."""
    rows = data.get("purposes", {}).items()
    return Usage(tuple((purpose, counts_from_json(counts)) for purpose, counts in rows))


def counts_as_json(counts: Counts) -> dict[str, Any]:
    """Return counts with their tokens; dollars are None if the price of any answer is unknown.

    >>> counts_as_json(Counts(calls=1, unpriced_calls=1))["dollars"] is None
    True
    """
    return {**counts.as_dict(), "tokens": counts.tokens, "dollars": _dollars(counts)}


def counts_from_json(data: Mapping[str, Any]) -> Counts:
    """Return the counts that `counts_as_json` or `Counts.as_dict` wrote down."""
    return Counts(**{field.name: data.get(field.name) or 0 for field in fields(Counts)})


def per_million(counts: Counts | None, env_steps: int) -> dict[str, float | None] | None:
    """Return calls, tokens and dollars per 1,000,000 environment steps.

    Args:
        counts: What was used; None if nobody knows.
        env_steps: The steps in which it was used.

    Returns:
        The rates; None if they are unknown or no step was done.

    >>> per_million(Counts(calls=2, prompt_tokens=30, dollars=0.5), 1000)
    {'calls': 2000.0, 'tokens': 30000.0, 'dollars': 500.0}
    """
    if counts is None or env_steps == 0:
        return None
    dollars = _dollars(counts)
    return {
        "calls": counts.calls * _MILLION / env_steps,
        "tokens": counts.tokens * _MILLION / env_steps,
        "dollars": None if dollars is None else dollars * _MILLION / env_steps,
    }


def authoring_entry(artefact: GuidanceArtefact) -> dict[str, Any]:
    """Return what writing an artefact took: nothing if by hand, None if nobody wrote it down."""
    where = artefact.provenance
    used = None
    if where.author == _HAND or where.usage:
        used = usage_as_json(_recorded_usage(where.usage))
    source = artefact.planner_source
    return {
        "author": where.author,
        "environment": where.environment,
        "planner_sha256": None if source is None else hash_of(source),
        "usage": used,
    }


def _recorded_usage(recorded: Mapping[str, Any]) -> Usage:
    try:
        return usage_from_json(recorded)
    except (AttributeError, TypeError) as error:
        raise InvalidOptionError(
            "expected the usage in an artefact's provenance as `Usage.as_dict` gives it, got "
            f"{dict(recorded)!r}; save the artefact with what was recorded, or with usage={{}}"
        ) from error


def _dollars(counts: Counts) -> float | None:
    return None if counts.unpriced_calls else counts.dollars


def _only(stats: Mapping[str, Any], kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in stats.items():
        if isinstance(value, Mapping):
            inner = _only(value, kind)
            found |= {name: inner} if inner else {}
        elif type(value) is kind:
            found[name] = value
    return found


def _combined(rows: Sequence[Mapping[str, Any]], combine: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row[name] for row in rows if name in row]
        is_nested = isinstance(values[0], Mapping)
        found[name] = _combined(values, combine) if is_nested else combine(values)
    return found
