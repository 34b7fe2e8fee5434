"""The account of a budget: a JSON document and the rules by which it changes.

Everything here is pure, so that a store may run it again. The document holds what is spent for good
(`calls`, `tokens`, `dollars`), what each request under way may still cost (`under_way`), and when
the latest requests started (`starts`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llm_wrappers.llm.budget import Budget
from llm_wrappers.llm.cache.store import State
from llm_wrappers.llm.transport import Cost

__all__ = ["WINDOW", "Decision", "Spending", "cancel", "decide", "in_units", "settle", "spending"]

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
    """Whether a request may be sent now.

    Args:
        verdict: ``"granted"``; ``"later"``, when requests under way have ended or others are a
            minute old; or ``"never"``, because it does not fit even then.
        seconds: After how long another try is of use; 0 if nobody knows.
        limit: The option of the budget that stands against it.
        spending: What the account holds.
    """

    verdict: Literal["granted", "later", "never"]
    seconds: float = 0.0
    limit: str = ""
    spending: Spending = Spending()


def decide(
    state: State, budget: Budget, worst: Cost, *, name: str, now: float, lease: float
) -> Decision:
    """Grant a request, and note it down, if the most that it can cost fits into the budget.

    Args:
        state: The account, changed in place.
        budget: The limits.
        worst: The most that the request can cost.
        name: Under which name it is settled later.
        now: The time, in seconds since 1970.
        lease: After how many seconds a request that was never settled counts as spent.
    """
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
    """Return dollars in the whole units of an account; 0 if the price is unknown.

    >>> in_units(0.1) * 3 == in_units(0.3)
    True
    """
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
