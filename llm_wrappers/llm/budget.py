"""How much a client may ask and spend."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError

__all__ = ["Budget"]


@dataclass(frozen=True)
class Budget:
    """The most that may be asked and spent; None sets no limit.

    A request is only sent if the most that it can cost still fits. What the cache answers costs
    nothing and is always allowed.

    Without a name, a budget is for one client, with the copies of it in other processes that share
    its cache. A named budget is kept in the cache under this name and is one budget for all runs
    that use it: five dollars for the whole project.

    Args:
        calls: How many requests may be sent, retries included. 0 means that nothing may be asked.
        tokens: How many tokens, of prompts and answers together.
        dollars: How much money; needs models with a known price.
        requests_per_minute: How many requests may start within any 60 seconds; more of them wait
            for their turn.
        name: Under which name it is shared; needs at least one limit.

    Raises:
        InvalidOptionError: If an option is negative, not a finite number or of another type.

    >>> Budget(dollars=5, name="thesis")
    Budget(calls=None, tokens=None, dollars=5.0, requests_per_minute=None, name='thesis')
    """

    calls: int | None = None
    tokens: int | None = None
    dollars: float | None = None
    requests_per_minute: int | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("calls", 0), ("tokens", 0), ("requests_per_minute", 1)):
            limit = checks.whole(name, getattr(self, name), least=least, or_none="for no limit")
            object.__setattr__(self, name, limit)
        if self.dollars is not None:
            object.__setattr__(self, "dollars", checks.number("dollars", self.dollars, least=0))
        if self.name is not None and not (isinstance(self.name, str) and self.name.strip()):
            raise InvalidOptionError(
                f"expected the name of a budget as a non-empty text, got {self.name!r}"
            )
        if self.name is not None and self.unlimited:
            raise InvalidOptionError(
                f"expected a limit for the budget named {self.name!r}, got none: give calls, "
                "tokens, dollars or requests_per_minute"
            )

    @property
    def unlimited(self) -> bool:
        """Whether there is no limit at all."""
        limits = (self.calls, self.tokens, self.dollars, self.requests_per_minute)
        return all(limit is None for limit in limits)

    def as_dict(self) -> dict[str, Any]:
        """Return the options as plain JSON data, from which `Budget(**data)` makes an equal one.

        >>> Budget(calls=3).as_dict()["calls"]
        3
        """
        return asdict(self)
