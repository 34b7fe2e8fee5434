"""Where each sub-environment is in its episode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.live.timing import Timing

__all__ = ["Steps"]


class Steps:
    """The previous text and the number of the step, per sub-environment."""

    def __init__(self) -> None:
        self._previous: list[str | None] | None = None
        self._clock = 0
        self._starts: list[int] = []

    def expect(self, texts: Sequence[str]) -> None:
        """Check that there is a text per sub-environment; the first call says how many.

        Raises:
            InvalidOptionError: If there are more or fewer than at the first call.
        """
        if self._previous is None:
            self._previous = [None] * len(texts)
            self._starts = [self._clock] * len(texts)
        self._check_number(len(texts), "texts")

    def due(self, texts: Sequence[str], missing: Iterable[str], timing: Timing) -> list[str]:
        """Return the missing texts, each once, that some sub-environment may ask about now."""
        wanted = set(missing)
        places = zip(texts, self._previous or (), self._starts, strict=True)
        return list(
            dict.fromkeys(
                text
                for text, previous, start in places
                if text in wanted and timing(text, previous, self._clock - start)
            )
        )

    def advance(self, texts: Sequence[str]) -> None:
        """Go one step on in all sub-environments."""
        self._previous = list(texts)
        self._clock += 1

    def reset(self, mask: Sequence[bool] | None) -> None:
        """Begin an episode where the mask is true; None also forgets how many there are.

        Raises:
            InvalidOptionError: If the mask has another length than there are sub-environments.
        """
        if mask is None:
            self._previous = None
        elif self._previous is not None:
            self._check_number(len(mask), "values in the mask")
            for index, begins in enumerate(mask):
                if begins:
                    self._previous[index], self._starts[index] = None, self._clock

    def _check_number(self, number: int, what: str) -> None:
        expected = len(self._previous or ())
        if number != expected:
            raise InvalidOptionError(
                f"expected {expected} {what}, one per sub-environment as at the first call, got "
                f"{number}; call reset() before the source serves another environment"
            )
