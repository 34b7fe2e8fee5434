"""Answers remembered by key, so that nothing is asked twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
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
        self._view: Callable[[T], T] | None = None
        # The answers as they are viewed; the same object for as long as there is no view.
        self._viewed = self._known

    def view(self, view: Callable[[T], T] | None) -> None:
        """Give answers from now on as a function makes them of those that are remembered.

        Args:
            view: Called once for each answer, when it is next needed; None for them as they are.
        """
        self._view = view
        self._viewed = self._known if view is None else {}

    def recall(self, keys: Sequence[Hashable]) -> list[T] | None:
        """Return one answer per key, None if some of them are not remembered.

        >>> Remembering(most=100).recall(["a"]) is None
        True
        """
        viewed = self._viewed
        try:
            return [viewed[key] for key in keys]
        except KeyError:
            return None

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
        found = self.recall(keys)
        if found is not None:
            return found
        known = self._known
        missing = {key: place for place, key in enumerate(keys) if key not in known}
        if len(known) + len(missing) > self._most:
            known = self._known = {key: known[key] for key in keys if key in known}
            self.view(self._view)
        new: Mapping[Hashable, T] = {}
        if missing:
            new = dict(zip(missing, ask(list(missing.values())), strict=True))
            known.update(
                new if keep is None else {key: one for key, one in new.items() if keep(one)}
            )
        if self._view is None:
            return [known[key] if key in known else new[key] for key in keys]
        return [self._seen(key, new, self._view) for key in keys]

    def _seen(self, key: Hashable, new: Mapping[Hashable, T], view: Callable[[T], T]) -> T:
        if key in self._viewed:
            return self._viewed[key]
        if key not in self._known:
            return view(new[key])
        answer = self._viewed[key] = view(self._known[key])
        return answer
