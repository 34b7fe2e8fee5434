"""States that no rollout shows and that planner code must survive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.sandbox.answers import plain_facts

__all__ = ["distinct_states", "extreme_states"]

_FARTHER = 10
_MOST_VALUES = 50


def extreme_states(states: Sequence[Mapping[str, Any]], *, most: int = 200) -> list[dict[str, Any]]:
    """Return states at and beyond the edges of the given ones, always the same.

    These are: everything zero, false, empty or (where that occurs) None; everything at ten times
    its largest value; facts that some states lack left out; and single facts of a state
    exchanged. None of the given states is among them.

    Args:
        states: Recorded states.
        most: How many at most.

    Raises:
        InvalidOptionError: If there are no states.

    >>> for state in extreme_states([{"wood": 2, "dark": False}]): print(state)
    {'wood': 0, 'dark': False}
    {'wood': 20, 'dark': True}
    {'wood': 20, 'dark': False}
    {'wood': 2, 'dark': True}
    """
    given = [plain_facts(state) for state in states]
    if not given:
        raise InvalidOptionError("expected at least one recorded state, got none")
    made = distinct_states([*given, *_extremes(given)])
    return made[len(distinct_states(given)) :][:most]


def distinct_states(states: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the states as plain data without repetitions, in their order.

    >>> distinct_states([{"wood": 1}, {"wood": 1}, {"wood": True}])
    [{'wood': 1}, {'wood': True}]
    """
    found: dict[str, dict[str, Any]] = {}
    for row in map(plain_facts, states):
        # By their text, which tells 1 from True and takes lists, too.
        found.setdefault(repr(sorted(row.items())), row)
    return list(found.values())


def _extremes(states: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    values = _values(states)
    fullest = max(states, key=len)
    for edge in (_zero, _nothing, _farthest):
        yield {name: edge(seen) for name, seen in values.items() if name in fullest}
    optional = [name for name in values if any(name not in state for state in states)]
    for state in (fullest, {name: _zero(seen) for name, seen in values.items()}):
        for left_out in [optional, *([name] for name in optional)]:
            yield {name: value for name, value in state.items() if name not in left_out}
    yield from _exchanged([fullest, states[len(states) // 2]], values)


def _exchanged(
    bases: list[dict[str, Any]], values: dict[str, list[Any]]
) -> Iterator[dict[str, Any]]:
    """Change one fact at a time: first every fact once, then every fact again."""
    others = {
        name: [_zero(seen), _nothing(seen), _farthest(seen), *seen] for name, seen in values.items()
    }
    for position in range(max(map(len, others.values()), default=0)):
        for base in bases:
            for name in base:
                for value in others[name][position : position + 1]:
                    yield {**base, name: value}


def _values(states: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return what each fact was seen to be."""
    values: dict[str, list[Any]] = {}
    for state in states:
        for name, value in state.items():
            seen = values.setdefault(name, [])
            if len(seen) < _MOST_VALUES and not any(_same(value, other) for other in seen):
                seen.append(value)
    return values


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _zero(seen: list[Any]) -> Any:
    sample = next((value for value in seen if value is not None), None)
    # A text has no zero: it may be one of a fixed set.
    return sample if isinstance(sample, str) or sample is None else type(sample)()


def _nothing(seen: list[Any]) -> Any:
    return None if None in seen else _zero(seen)


def _farthest(seen: list[Any]) -> Any:
    sample = next((value for value in seen if value is not None), None)
    if isinstance(sample, bool):
        return True
    if isinstance(sample, int | float):
        numbers = [value for value in seen if isinstance(value, int | float)]
        return (max(numbers) or 1) * _FARTHER
    if isinstance(sample, tuple | list):
        parts = [part for value in seen if isinstance(value, tuple | list) for part in value]
        return type(sample)(dict.fromkeys(parts))
    return seen[-1]
