"""What a live source remembers about texts, within bounds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

__all__ = ["RecentTexts"]

Value = TypeVar("Value")


class RecentTexts(Generic[Value]):
    """Values of texts; at the bound, the text that was not used for the longest time goes.

    Args:
        most: The bound.

    >>> memo = RecentTexts(most=2)
    >>> for text in ("a", "b"):
    ...     memo.put(text, text.upper())
    >>> memo.recall(["a"])
    ['A']
    >>> memo.put("c", "C")
    >>> list(memo)
    ['a', 'c']
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._values: OrderedDict[str, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, text: object) -> bool:
        return text in self._values

    def put(self, text: str, value: Value) -> None:
        """Remember the value of a text, now the one used last."""
        self._values[text] = value
        self._values.move_to_end(text)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def absent(self, texts: Iterable[str]) -> list[str]:
        """Return the distinct texts without a value, in order."""
        values = self._values
        return [text for text in dict.fromkeys(texts) if text not in values]

    def recall(self, texts: Sequence[str]) -> list[Value]:
        """Return the value of each text; all of them have one."""
        values = self._values
        for text in texts:
            values.move_to_end(text)
        return [values[text] for text in texts]

    def get(self, text: str, default: Value) -> Value:
        """Return the value of a text; this does not count as use."""
        return self._values.get(text, default)

    def discard(self, text: str) -> None:
        """Forget a text, if it is there."""
        self._values.pop(text, None)
