"""Answers remembered by key, so that nothing is asked twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

__all__ = ["Remembering"]

T = TypeVar("T")


class Remembering(Generic[T]):
    """A bounded memory of answers by key; batch first.

    Args:
        most: How many answers are kept. Beyond, it starts over with what the batch needs.

    >>> memory = Remembering(most=100)
    >>> memory.answers(["a", "b"], lambda places: [f"asked {place}" for place in places])
    ['asked 0', 'asked 1']
    >>> memory.answers(["b", "b"], lambda places: [])
    ['asked 1', 'asked 1']
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[Hashable, T] = {}

    def answers(
        self,
        keys: Sequence[Hashable],
        ask: Callable[[list[int]], Sequence[T]],
        *,
        keep: Callable[[T], bool] | None = None,
    ) -> list[T]:
        """Return one answer per key.

        Args:
            keys: Equal keys have one answer.
            ask: From places in `keys`, one for each key that is not remembered, to their answers.
            keep: Which answers are remembered; the others are asked for again the next time. None
                for all.
        """
        known = self._known
        missing = {key: place for place, key in enumerate(keys) if key not in known}
        if not missing:
            return [known[key] for key in keys]
        if len(known) + len(missing) > self._most:
            known = self._known = {key: known[key] for key in keys if key in known}
        found = dict(zip(missing, ask(list(missing.values())), strict=True))
        known.update(
            found if keep is None else {key: new for key, new in found.items() if keep(new)}
        )
        return [known[key] if key in known else found[key] for key in keys]
