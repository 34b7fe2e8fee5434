"""The operators of guarded planner code: the same results, with bounded time and memory."""

from __future__ import annotations

import operator
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from llm_wrappers.guidance.runtime._meter import Meter
from llm_wrappers.guidance.runtime.facts import FrozenFacts

__all__ = ["Operations"]

# Our choices; nothing that plans comes near them.
_LONGEST_TEXT = 10_000
_DEEPEST = 20
_MOST_BITS = 2_048
_LARGEST_EXPONENT = 256

_AT_ONCE = frozenset({str, int, float, bool, type(None)})
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_SEQUENCES = frozenset({list, tuple, set, frozenset, *_VIEWS})
_MAPPINGS = frozenset({dict, defaultdict, Counter, FrozenFacts})
_NUMBERS = frozenset({int, float, bool})
_CHARACTERS_PER_STEP = 16


class Operations:
    """What the operators of a planner are replaced by; each pays for what it does.

    Args:
        meter: Pays.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def small(self, value: Any) -> Any:
        """Return the value once it is known to be small enough to compare, hash or print.

        A few nested tuples that share their parts take longer than the age of the universe to
        compare. Every part is visited as often as C code would visit it, and paid for.
        """
        if type(value) in _AT_ONCE:
            return value
        waiting = [(value, 0)]
        while waiting:
            item, depth = waiting.pop()
            kind = type(item)
            if kind in _AT_ONCE:
                continue
            self._meter.tick()
            if depth > _DEEPEST:
                raise ValueError(f"values must not be nested deeper than {_DEEPEST}")
            if kind is range:
                self._meter.charge(len(item))
            elif kind in _SEQUENCES:
                self._meter.charge(len(item))
                waiting.extend((part, depth + 1) for part in item)
            elif kind in _MAPPINGS:
                self._meter.charge(len(item))
                waiting.extend((part, depth + 1) for pair in item.items() for part in pair)
            elif isinstance(item, BaseException):
                raise TypeError("exceptions cannot be compared or printed")
        return value

    def text(self, value: str) -> str:
        """Return a new text, paid for."""
        self.fits(len(value))
        return value

    def fits(self, length: int) -> None:
        """Pay for a text of this length before it is made."""
        if length > _LONGEST_TEXT:
            raise ValueError(f"texts must not be longer than {_LONGEST_TEXT} characters")
        self._meter.charge(length // _CHARACTERS_PER_STEP)

    def contains(self, container: Any, item: Any) -> bool:
        """Return ``item in container``."""
        if type(container) in (list, tuple):
            self._meter.charge(len(container))
        if type(item) not in _AT_ONCE or type(container) is range:
            self.small(item)
            self.small(container)
        return item in container

    def add(self, left: Any, right: Any) -> Any:
        """Return ``left + right``."""
        kind = type(left)
        if kind is str and type(right) is str:
            self.fits(len(left) + len(right))
        elif kind in (list, tuple) and type(right) is kind:
            self._meter.charge(len(left) + len(right))
        elif kind not in _NUMBERS:
            self.small(left)
            self.small(right)
        return left + right

    def multiply(self, left: Any, right: Any) -> Any:
        """Return ``left * right``."""
        kinds = (type(left), type(right))
        if float in kinds:
            return left * right
        if kinds[0] in _NUMBERS and kinds[1] in _NUMBERS:
            _check_bits(int(left).bit_length() + int(right).bit_length())
        elif kinds[0] in _NUMBERS or kinds[1] in _NUMBERS:
            times, sequence = (left, right) if kinds[0] in _NUMBERS else (right, left)
            self._check_repeat(sequence, times)
        return left * right

    def _check_repeat(self, sequence: Any, times: Any) -> None:
        if type(sequence) is str:
            self.fits(len(sequence) * max(times, 0))
        elif type(sequence) in (list, tuple):
            self._meter.charge(len(sequence) * max(times, 0))

    def power(self, left: Any, right: Any) -> Any:
        """Return ``left ** right``."""
        if type(left) in (int, bool) and type(right) in (int, bool):
            if abs(right) > _LARGEST_EXPONENT:
                raise OverflowError(f"exponents must not be larger than {_LARGEST_EXPONENT}")
            _check_bits(int(left).bit_length() * abs(right))
        return left**right

    def remainder(self, left: Any, right: Any) -> Any:
        """Return ``left % right``."""
        if type(left) not in _NUMBERS:
            raise TypeError("% is for numbers; format texts as f-strings")
        return left % right

    def add_to(self, left: Any, right: Any) -> Any:
        """Return the new value of ``left += right``."""
        if type(left) is not list:
            return self.add(left, right)
        left.extend(self.taken(right))
        return left

    def multiply_to(self, left: Any, right: Any) -> Any:
        """Return the new value of ``left *= right``."""
        if type(left) is not list:
            return self.multiply(left, right)
        self._check_repeat(left, right)
        left *= right
        return left

    def combine(self, operation: str, left: Any, right: Any) -> Any:
        """Return ``left - right``, ``left | right`` and the like, of numbers, sets or dicts."""
        if type(left) not in _NUMBERS:
            self.small(left)
            self.small(right)
        return _COMBINED[operation](left, right)

    def combine_to(self, operation: str, left: Any, right: Any) -> Any:
        """Return the new value of ``left -= right``, ``left |= right`` and the like."""
        if type(left) not in _NUMBERS:
            self.small(right)
        return _COMBINED_IN_PLACE[operation](left, right)

    def augment(self, operation: str, holder: Any, key: Any, value: Any) -> None:
        """Do ``holder[key] += value``, or the same with another operator."""
        old = holder[self.small(key)]
        if operation in _COMBINED_IN_PLACE:
            holder[key] = self.combine_to(operation, old, value)
        else:
            holder[key] = _AUGMENTED[operation](self, old, value)

    def keyed(self, key: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
        """Return a sort key whose values are small enough to compare."""
        return None if key is None else lambda item: self.small(key(item))

    def taken(self, iterable: Any) -> tuple[Any, ...]:
        """Return all items of an iterable, paid for."""
        return tuple(self._meter.each(iterable))

    def join(self, separator: Any, parts: Any) -> str:
        """Return ``separator.join(parts)``."""
        parts = self.taken(parts)
        if type(separator) is not str or any(type(part) is not str for part in parts):
            raise TypeError("join() is for texts")
        self.fits(sum(map(len, parts)) + len(separator) * len(parts))
        return separator.join(parts)

    def split(self, text: Any, *arguments: Any) -> list[str]:
        """Return ``text.split(...)``."""
        if type(text) is not str:
            raise TypeError("split() is for texts")
        self._meter.charge(len(text) // 2)
        return text.split(*arguments)

    def replace(self, text: Any, old: Any, new: Any) -> str:
        """Return ``text.replace(old, new)``."""
        if not (type(text) is type(old) is type(new) is str):
            raise TypeError("replace() is for texts")
        self.fits(len(text) + text.count(old) * len(new))
        return text.replace(old, new)


_Operator = Callable[[Any, Any], Any]
_COMBINED: dict[str, _Operator] = {
    "Sub": operator.sub,
    "BitOr": operator.or_,
    "BitAnd": operator.and_,
    "BitXor": operator.xor,
}
_COMBINED_IN_PLACE: dict[str, _Operator] = {
    "Sub": operator.isub,
    "BitOr": operator.ior,
    "BitAnd": operator.iand,
    "BitXor": operator.ixor,
    "Div": operator.itruediv,
    "FloorDiv": operator.ifloordiv,
}
_AUGMENTED: dict[str, Callable[[Operations, Any, Any], Any]] = {
    "Add": Operations.add_to,
    "Mult": Operations.multiply_to,
    "Pow": Operations.power,
    "Mod": Operations.remainder,
}


def _check_bits(bits: int) -> None:
    if bits > _MOST_BITS:
        raise OverflowError("this number becomes too large")
