"""How much may be asked and spent, and the rules by which a budget's account changes.

The account is a JSON document. Its rules are pure, so that a store may run them again. The document
holds what is spent for good (`calls`, `tokens`, `dollars`), what each request under way may still
cost (`under_way`), and when the latest requests started (`starts`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.cache.store import State
from llm_wrappers.llm.transport import Cost

__all__ = [
    "WINDOW",
    "Budget",
    "Decision",
    "Spending",
    "cancel",
    "decide",
    "in_units",
    "settle",
    "spending",
]


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


WINDOW = 60.0
"""The seconds for which `requests_per_minute` holds."""

_AFTER_THE_WINDOW = 0.001

# Whole units add up exactly, where a tenth of a dollar as a float does not.
_UNITS_PER_DOLLAR = 10**12


@dataclass(frozen=True)
class Spending:
    """What a budget's account holds.

    Args:
        calls: Requests sent, retries included.
        tokens: Tokens spent, as far as they are settled.
        dollars: Dollars spent, as far as they are settled and their price is known.
        in_flight: How many requests are under way; what they cost is not yet in the numbers.
    """

    calls: int = 0
    tokens: int = 0
    dollars: float = 0.0
    in_flight: int = 0


@dataclass(frozen=True)
class Decision:
    """Whether a request may be sent now."""

    verdict: Literal["granted", "later", "never"]
    seconds: float = 0.0
    limit: str = ""
    spending: Spending = Spending()


def decide(
    state: State, budget: Budget, worst: Cost, *, name: str, now: float, lease: float
) -> Decision:
    """Grant a request, and note it down, if the most that it can cost fits into the budget."""
    _bring_up_to_date(state, now, lease)
    never = _limit_reached(state, budget, worst, reserved=False)
    if never:
        spent = spending(state, now=now, lease=lease)
        return Decision("never", limit=never, spending=spent)
    later = _limit_reached(state, budget, worst, reserved=True)
    if later:
        return Decision("later", limit=later)
    if budget.requests_per_minute is not None:
        seconds = _seconds_until_turn(state, budget.requests_per_minute, now)
        if seconds:
            return Decision("later", seconds, limit="requests_per_minute")
        state["starts"].append(now)
    state["calls"] += 1
    state["under_way"][name] = [now, worst.tokens, in_units(worst.dollars)]
    return Decision("granted")


def settle(state: State, name: str, *, tokens: int, units: int | None) -> None:
    """Count what a request has really cost; None for units counts the most it could cost.

    A request that is not under way, because it was settled before or is too old, changes nothing.
    """
    _open(state)
    entry = state["under_way"].pop(name, None)
    if entry is not None:
        state["tokens"] += tokens
        state["dollars"] += entry[2] if units is None else units


def cancel(state: State, name: str) -> None:
    """Forget a request that was never sent; its place in the minute is free again."""
    _open(state)
    entry = state["under_way"].pop(name, None)
    if entry is not None:
        state["calls"] -= 1
        if entry[0] in state["starts"]:
            state["starts"].remove(entry[0])


def spending(state: State, *, now: float, lease: float) -> Spending:
    """Return what an account holds; the arguments are those of `decide`."""
    _bring_up_to_date(state, now, lease)
    return Spending(
        calls=state["calls"],
        tokens=state["tokens"],
        dollars=state["dollars"] / _UNITS_PER_DOLLAR,
        in_flight=len(state["under_way"]),
    )


def in_units(dollars: float | None) -> int:
    """Return dollars in the whole units of an account; 0 if the price is unknown."""
    return 0 if dollars is None else round(dollars * _UNITS_PER_DOLLAR)


def _open(state: State) -> None:
    state.setdefault("calls", 0)
    state.setdefault("tokens", 0)
    state.setdefault("dollars", 0)
    state.setdefault("starts", [])
    state.setdefault("under_way", {})


def _bring_up_to_date(state: State, now: float, lease: float) -> None:
    _open(state)
    # A time that is still to come was written before the clock was set back.
    starts = [min(start, now) for start in state["starts"]]
    state["starts"] = [start for start in starts if now - start <= WINDOW]
    for name, (start, tokens, units) in list(state["under_way"].items()):
        if now - start > lease:
            del state["under_way"][name]
            state["tokens"] += tokens
            state["dollars"] += units
        else:
            state["under_way"][name][0] = min(start, now)


def _limit_reached(state: State, budget: Budget, worst: Cost, *, reserved: bool) -> str:
    if budget.calls is not None and state["calls"] >= budget.calls:
        return "calls"
    entries = list(state["under_way"].values()) if reserved else []
    tokens = state["tokens"] + sum(entry[1] for entry in entries) + worst.tokens
    if budget.tokens is not None and tokens > budget.tokens:
        return "tokens"
    units = state["dollars"] + sum(entry[2] for entry in entries) + in_units(worst.dollars)
    if budget.dollars is not None and units > in_units(budget.dollars):
        return "dollars"
    return ""


def _seconds_until_turn(state: State, per_minute: int, now: float) -> float:
    starts: list[float] = sorted(state["starts"])
    if len(starts) < per_minute:
        return 0.0
    return max(0.0, starts[-per_minute] + WINDOW - now) + _AFTER_THE_WINDOW
