"""What a client has used: requests, tokens, dollars and time, for each purpose."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.answer import Completion
from llm_wrappers.scores.table import format_table

__all__ = ["PURPOSES", "Counts", "Usage", "UsageMeter"]

PURPOSES = ("plan", "mask", "reweigh", "suggest", "judge", "identify", "correct")
"""The purposes for which this package asks; callers may use any other."""

_DIGITS = 12


@dataclass(frozen=True)
class Counts:
    """What was used for one purpose, or altogether.

    Args:
        calls: Requests sent, retries and repairs included.
        cache_hits: Answers for which no request was sent.
        failures: Questions that got no answer that can be used.
        prompt_tokens: Tokens of the prompts.
        completion_tokens: Tokens of the answers.
        dollars: The price, as far as it is known.
        unpriced_calls: Answers whose price is unknown; they are not in `dollars`.
        seconds: The time for which somebody waited, summed over threads.
    """

    calls: int = 0
    cache_hits: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    unpriced_calls: int = 0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens of prompts and answers together."""
        return self.prompt_tokens + self.completion_tokens

    def as_dict(self) -> dict[str, float]:
        """Return the numbers by their names, as plain JSON data."""
        return asdict(self)

    def __add__(self, other: Counts) -> Counts:
        return self._combined(other, sign=1)

    def __sub__(self, other: Counts) -> Counts:
        return self._combined(other, sign=-1)

    def _combined(self, other: Counts, *, sign: int) -> Counts:
        # Rounded, so that tenths of dollars add up to what a person expects.
        return Counts(
            *(
                round(getattr(self, field.name) + sign * getattr(other, field.name), _DIGITS)
                for field in fields(self)
            )
        )


@dataclass(frozen=True)
class Usage(Mapping[str, Counts]):
    """What was used until some moment: a mapping of purpose to `Counts`.

    A purpose that never occurred has used nothing. `usage - earlier` is what was used in between.

    Args:
        rows: The purposes that occurred, each with its counts.

    >>> usage = Usage((("judge", Counts(calls=2, dollars=0.5)), ("plan", Counts(calls=1))))
    >>> usage["judge"].calls, usage["mask"].calls, usage.total.calls
    (2, 0, 3)
    """

    rows: tuple[tuple[str, Counts], ...] = ()

    @property
    def purposes(self) -> tuple[str, ...]:
        """The purposes that occurred: those of this package first, then others by name."""
        return tuple(purpose for purpose, _ in self.rows)

    @property
    def total(self) -> Counts:
        """The sum over all purposes."""
        return sum((counts for _, counts in self.rows), Counts())

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON data, for logs and for the provenance of artefacts."""
        return {
            "total": self.total.as_dict(),
            "purposes": {purpose: counts.as_dict() for purpose, counts in self.rows},
        }

    def __getitem__(self, purpose: str) -> Counts:
        return dict(self.rows).get(checked_purpose(purpose), Counts())

    def __contains__(self, purpose: object) -> bool:
        return purpose in self.purposes

    def __iter__(self) -> Iterator[str]:
        return iter(self.purposes)

    def __len__(self) -> int:
        return len(self.rows)

    def __sub__(self, earlier: Usage) -> Usage:
        purposes = {*self.purposes, *earlier.purposes}
        return _usage({purpose: self[purpose] - earlier[purpose] for purpose in purposes})

    def __str__(self) -> str:
        table = [*self.rows, ("total", self.total)]
        return format_table([{"purpose": purpose, **counts.as_dict()} for purpose, counts in table])


class UsageMeter:
    """Counts what a client uses; safe to use from many threads."""

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = {}
        self._lock = threading.Lock()

    def record(
        self,
        purpose: str,
        turns: Sequence[Completion],
        *,
        requests: int,
        seconds: float,
        failed: bool = False,
    ) -> None:
        """Count one question that was asked."""
        prices = [turn.dollars for turn in turns]
        known = [price for price in prices if price is not None and math.isfinite(price)]
        self._add(
            purpose,
            Counts(
                calls=requests,
                failures=int(failed),
                prompt_tokens=sum(turn.prompt_tokens for turn in turns),
                completion_tokens=sum(turn.completion_tokens for turn in turns),
                dollars=sum(known),
                unpriced_calls=len(prices) - len(known),
                seconds=seconds,
            ),
        )

    def record_hit(self, purpose: str) -> None:
        """Count one question whose answer was there already."""
        self._add(purpose, Counts(cache_hits=1))

    def snapshot(self) -> Usage:
        """Return what was used until now."""
        with self._lock:
            return _usage(self._counts)

    def _add(self, purpose: str, counts: Counts) -> None:
        checked_purpose(purpose)
        with self._lock:
            self._counts[purpose] = self._counts.get(purpose, Counts()) + counts

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {"_counts": dict(self._counts)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._counts = state["_counts"]
        self._lock = threading.Lock()


def checked_purpose(purpose: Any) -> str:
    """Return a purpose, or say what it has to be."""
    if not isinstance(purpose, str) or not purpose.strip():
        raise InvalidOptionError(
            f"expected a purpose as a non-empty text, like {PURPOSES[0]!r}, got {purpose!r}"
        )
    return purpose


def _usage(counts: Mapping[str, Counts]) -> Usage:
    occurred = [purpose for purpose in counts if counts[purpose] != Counts()]
    own = [purpose for purpose in PURPOSES if purpose in occurred]
    others = sorted(set(occurred) - set(own))
    return Usage(tuple((purpose, counts[purpose]) for purpose in [*own, *others]))
