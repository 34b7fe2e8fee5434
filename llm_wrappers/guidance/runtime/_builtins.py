"""The built-in functions of guarded planner code: the same results, paid for."""

from __future__ import annotations

import builtins
import collections
import math
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from llm_wrappers.guidance.runtime._meter import Meter
from llm_wrappers.guidance.runtime._operations import Operations
from llm_wrappers.guidance.runtime.language import BUILTINS, EXCEPTIONS, MODULES

__all__ = ["Builtins"]

_MOST_DIGITS = 30
_LONGEST_NUMBER = 100


class Builtins:
    """The functions that a planner finds under the names of Python's own.

    Args:
        meter: Pays.
        operations: The operators, which are paid too.
    """

    def __init__(self, meter: Meter, operations: Operations) -> None:
        self._each = meter.each
        self._operations = operations
        self._small = operations.small
        self._taken = operations.taken
        self._functions = {name: getattr(self, "_" + name) for name in BUILTINS}
        self._types = {
            self._functions[kind.__name__]: kind
            for kind in (bool, dict, float, frozenset, int, list, set, str, tuple)
        }

    def functions(self) -> dict[str, Any]:
        """Return name -> function or exception, all that the language has."""
        return {**self._functions, **{name: getattr(builtins, name) for name in EXCEPTIONS}}

    def modules(self) -> dict[str, SimpleNamespace]:
        """Return module -> its names in the language."""
        mathematics = {name: getattr(math, name) for name in MODULES["math"]}
        return {
            "math": SimpleNamespace(**mathematics),
            "collections": SimpleNamespace(
                Counter=self._counter, defaultdict=collections.defaultdict
            ),
        }

    _abs = staticmethod(abs)
    _len = staticmethod(len)
    _range = staticmethod(range)

    def _all(self, items: Any) -> bool:
        return all(self._each(items))

    def _any(self, items: Any) -> bool:
        return any(self._each(items))

    def _bool(self, value: Any = False) -> bool:
        return bool(value)

    def _counter(self, items: Any = ()) -> Any:
        return collections.Counter(self._hashable(items))

    def _dict(self, items: Any = (), **named: Any) -> dict[Any, Any]:
        return dict(self._hashable(items), **named)

    def _hashable(self, items: Any) -> Any:
        return self._small(items if isinstance(items, dict) else self._taken(items))

    def _divmod(self, left: Any, right: Any) -> tuple[Any, Any]:
        return left // right, self._operations.remainder(left, right)

    def _enumerate(self, items: Any, start: int = 0) -> Iterable[Any]:
        return enumerate(self._each(items), start)

    def _filter(self, keep: Any, items: Any) -> Iterable[Any]:
        return filter(keep, self._each(items))

    def _float(self, value: Any = 0.0) -> float:
        return float(_short(value))

    def _frozenset(self, items: Any = ()) -> frozenset[Any]:
        return frozenset(self._hashable(items))

    def _int(self, value: Any = 0) -> int:
        return int(_short(value))

    def _isinstance(self, value: Any, kinds: Any) -> bool:
        wanted = self._small(kinds if type(kinds) is tuple else (kinds,))
        return isinstance(value, tuple(self._types.get(kind, kind) for kind in wanted))

    def _list(self, items: Any = ()) -> list[Any]:
        return list(self._taken(items))

    def _map(self, change: Any, *items: Any) -> Iterable[Any]:
        return map(change, *(self._each(item) for item in items))

    def _max(self, *items: Any, key: Any = None, **default: Any) -> Any:
        return self._extreme(max, items, key, default)

    def _min(self, *items: Any, key: Any = None, **default: Any) -> Any:
        return self._extreme(min, items, key, default)

    def _extreme(
        self, choose: Callable[..., Any], items: tuple[Any, ...], key: Any, default: dict[str, Any]
    ) -> Any:
        values = self._taken(items[0]) if len(items) == 1 else items
        return choose(self._small(values), key=self._operations.keyed(key), **default)

    def _reversed(self, items: Any) -> Any:
        return reversed(self._small(items))

    def _round(self, value: Any, ndigits: Any = None) -> Any:
        if ndigits is not None and abs(ndigits) > _MOST_DIGITS:
            raise OverflowError(f"round() takes at most {_MOST_DIGITS} digits")
        return round(value, ndigits)

    def _set(self, items: Any = ()) -> set[Any]:
        return set(self._hashable(items))

    def _sorted(self, items: Any, *, key: Any = None, reverse: Any = False) -> list[Any]:
        values = self._small(self._taken(items))
        return sorted(values, key=self._operations.keyed(key), reverse=bool(reverse))

    def _str(self, value: Any = "") -> str:
        return self._operations.text(str(self._small(value)))

    def _sum(self, items: Any, start: Any = 0) -> Any:
        values = self._taken(items)
        if all(type(value) in (int, float, bool) for value in values):
            return sum(values, start)
        for value in values:
            start = self._operations.add(start, value)
        return start

    def _tuple(self, items: Any = ()) -> tuple[Any, ...]:
        return self._taken(items)

    def _zip(self, *items: Any) -> Iterable[Any]:
        return zip(*(self._each(item) for item in items), strict=False)


def _short(value: Any) -> Any:
    if type(value) is str and len(value) > _LONGEST_NUMBER:
        raise ValueError("this text is too long for a number")
    return value
