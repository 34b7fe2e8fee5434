"""Exact oracles of small tabular problems, by dynamic programming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.states import States

__all__ = ["BlackjackOracle", "FrozenLakeOracle", "blackjack_values"]

_CARDS = (*range(1, 11), 10, 10, 10)  # an endless deck; face cards count 10
_DEALER_STOPS_AT = 17
_EQUAL = 1e-9
_FROZEN_LAKE_GAMMA = 0.99
_SWEEPS = 10_000


class BlackjackOracle:
    """+1 for the decision that wins most in ``Blackjack-v1``, -1 for the other, 0 for a tie."""

    pure = True
    reads = ("player_sum", "dealer_card", "usable_ace")

    def judge(self, states: States, actions: Sequence[Any]) -> list[int]:
        """Return how each decision compares with the other one."""
        rows = zip(states.facts, actions, strict=True)
        return [self._judged(facts, int(action)) for facts, action in rows]

    @staticmethod
    def _judged(facts: Mapping[str, Any], action: int) -> int:
        if facts["player_sum"] > 21:
            return 0
        values = blackjack_values(
            facts["player_sum"], facts["dealer_card"], bool(facts["usable_ace"])
        )
        difference = values[action] - values[1 - action]
        return 0 if abs(difference) < _EQUAL else (1 if difference > 0 else -1)


class FrozenLakeOracle:
    """+1 for the best moves on a frozen lake, -1 for all others.

    The environment's own transition model is solved by value iteration, as it is registered, with
    a discount of 0.99 (our choice: it makes short ways better).

    Args:
        env_id: ``"FrozenLake-v1"`` or ``"FrozenLake8x8-v1"``.
        env: An environment with another map or other options; None for the one registered.

    Raises:
        InvalidOptionError: If the environment has no transition model.
    """

    pure = True
    reads = ("row", "column")

    def __init__(
        self, env_id: str = "FrozenLake-v1", *, env: gym.Env[Any, Any] | None = None
    ) -> None:
        base: Any = (env or gym.make(env_id)).unwrapped
        if not hasattr(base, "P") or not hasattr(base, "ncol"):
            raise InvalidOptionError(f"expected a FrozenLake environment, got {base!r}")
        self._columns = int(base.ncol)
        values = _solved(base.P)
        best = values.max(axis=1, keepdims=True)
        self._judgements = np.where(values > best - _EQUAL, 1, -1)
        # Where nothing can be won any more all moves are alike.
        self._judgements[best[:, 0] <= 0] = 0

    def judge(self, states: States, actions: Sequence[Any]) -> list[int]:
        """Return whether each move is among the best."""
        return [
            int(self._judgements[facts["row"] * self._columns + facts["column"], int(action)])
            for facts, action in zip(states.facts, actions, strict=True)
        ]


@cache
def blackjack_values(total: int, dealer_card: int, usable_ace: bool) -> tuple[float, float]:
    """Return what sticking and hitting win on average, with best play afterwards.

    Args:
        total: The sum of the hand, at most 21.
        dealer_card: The dealer's open card, 1 to 10.
        usable_ace: Whether an ace counts 11.

    >>> stick, hit = blackjack_values(20, 5, False)
    >>> stick > hit
    True
    """
    hit = 0.0
    for card in _CARDS:
        new_total, new_ace = _with_card(total, usable_ace, card)
        value = -1.0 if new_total > 21 else max(blackjack_values(new_total, dealer_card, new_ace))
        hit += value / len(_CARDS)
    return _stick_value(total, dealer_card), hit


def _stick_value(total: int, dealer_card: int) -> float:
    outcomes = _dealer_outcomes(*_with_card(0, False, dealer_card))
    return sum(
        probability * (1.0 if final > 21 or final < total else -1.0 if final > total else 0.0)
        for final, probability in outcomes
    )


@cache
def _dealer_outcomes(total: int, usable_ace: bool) -> tuple[tuple[int, float], ...]:
    if total >= _DEALER_STOPS_AT:
        return ((min(total, 22), 1.0),)
    outcomes: dict[int, float] = {}
    for card in _CARDS:
        for final, probability in _dealer_outcomes(*_with_card(total, usable_ace, card)):
            outcomes[final] = outcomes.get(final, 0.0) + probability / len(_CARDS)
    return tuple(outcomes.items())


def _with_card(total: int, usable_ace: bool, card: int) -> tuple[int, bool]:
    total += card
    if card == 1 and not usable_ace and total + 10 <= 21:
        return total + 10, True
    if total > 21 and usable_ace:
        return total - 10, False
    return total, usable_ace


def _solved(model: Mapping[int, Mapping[int, Any]]) -> NDArray[np.float64]:
    """Return the action values of a transition model, shape (states, actions)."""
    values = np.zeros((len(model), len(model[0])))
    for _ in range(_SWEEPS):
        best = values.max(axis=1)
        updated = np.array(
            [
                [_backup(model[state][action], best) for action in sorted(model[state])]
                for state in sorted(model)
            ]
        )
        change = np.abs(updated - values).max()
        values = updated
        if change < _EQUAL / 10:
            break
    return values


def _backup(outcomes: Any, best: NDArray[np.float64]) -> float:
    return float(
        sum(
            probability * (reward + (0.0 if ended else _FROZEN_LAKE_GAMMA * best[state]))
            for probability, state, reward, ended in outcomes
        )
    )
