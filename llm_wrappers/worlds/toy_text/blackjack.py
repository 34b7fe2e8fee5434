"""Gymnasium's Blackjack: captions, a rule of thumb, and the exact judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from gymnasium import spaces

from llm_wrappers.captions.captioner import Facts, StateByState
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.layers import AnyEnv, actions_of, observed_of
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.states import States

__all__ = [
    "BlackjackCaptioner",
    "BlackjackOracle",
    "blackjack_values",
    "judgement",
    "known_blackjack",
]

_RULES = (
    "You play one hand of blackjack against a dealer. Cards come from an endless deck; face cards "
    "count 10, and an ace counts 11 if that does not take the hand over 21 (a usable ace), else 1. "
    "You see your own cards and one of the dealer's. Hitting gives you one more card; a hand over "
    "21 loses at once, for a reward of -1. When you stick, the dealer draws until 17 or more, and "
    "the hand nearer to 21 wins a reward of 1; a draw is 0."
)
_ACTIONS = ("stick", "hit")
_ENV_ID = "Blackjack-v1"
_DEALER_IS_WEAK = range(2, 7)
_CARDS = (*range(1, 11), 10, 10, 10)  # an endless deck; face cards count 10
_DEALER_STOPS_AT = 17
_EQUAL = 1e-9
_OBSERVATIONS = spaces.Tuple((spaces.Discrete(32), spaces.Discrete(11), spaces.Discrete(2)))


class BlackjackCaptioner(StateByState):
    """Speaks about a hand of ``Blackjack-v1``.

    The facts are `player_sum` (4 to 31), `dealer_card` (1 to 10, an ace is 1) and `usable_ace`.

    Args:
        env_id: The Gymnasium id.

    >>> captioner = BlackjackCaptioner()
    >>> captioner.state_captions([{"player_sum": 16, "dealer_card": 1, "usable_ace": False}])
    ['Your cards sum to 16 without a usable ace; the dealer shows an ace.']
    """

    def __init__(self, env_id: str = _ENV_ID) -> None:
        self._description = EnvDescription(env_id=env_id, rules=_RULES, action_names=_ACTIONS)

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> list[Facts]:
        """Return the hand of each sub-environment.

        Args:
            observations: A tuple of three arrays of shape (n,): sum, dealer's card, usable ace.
            infos: Not read.

        Raises:
            InvalidOptionError: If the observations are no such tuple.
        """
        if not isinstance(observations, tuple) or len(observations) != 3:
            raise InvalidOptionError(
                "observations of Blackjack must be a tuple of three arrays, got a "
                f"{type(observations).__name__}"
            )
        columns = (np.asarray(column).tolist() for column in observations)
        return [
            {"player_sum": total, "dealer_card": card, "usable_ace": bool(ace)}
            for total, card, ace in zip(*columns, strict=True)
        ]

    def _state(self, facts: Facts) -> str:
        return _sentence(facts)

    def _transition(self, before: Facts, action: Any, after: Facts) -> str:
        return _outcome(before, self._action_name(action), after)


def _sentence(facts: Facts) -> str:
    card = "an ace" if facts["dealer_card"] == 1 else f"a {facts['dealer_card']}"
    ace = "with" if facts["usable_ace"] else "without"
    return f"Your cards sum to {facts['player_sum']} {ace} a usable ace; the dealer shows {card}."


def _outcome(before: Facts, action: str, after: Facts) -> str:
    if action == "stick":
        return f"stick at {before['player_sum']}"
    total = after["player_sum"]
    assert isinstance(total, int)
    return f"hit and go over 21 with {total}" if total > 21 else f"hit and hold {total}"


def known_blackjack(layers: Sequence[AnyEnv], env_id: str) -> BlackjackCaptioner | None:
    """Return the captioner of Blackjack with the spaces of the bare environment, else None."""
    spaces_of = observed_of(layers[-1]), actions_of(layers[-1])
    is_bare = spaces_of == (_OBSERVATIONS, spaces.Discrete(2))
    return BlackjackCaptioner() if env_id == _ENV_ID and is_bare else None


def judgement(facts: Mapping[str, Any], action: Any) -> int:
    """Judge a decision by a rule of thumb: hit below 17, or below 12 if the dealer is weak."""
    hard_limit = 12 if facts["dealer_card"] in _DEALER_IS_WEAK else 17
    limit = 18 if facts["usable_ace"] else hard_limit
    return 1 if (int(action) == 1) == (facts["player_sum"] < limit) else -1


class BlackjackOracle:
    """+1 for the decision that wins most in ``Blackjack-v1``, -1 for the other, 0 for a tie.

    Args:
        env_id: ``"Blackjack-v1"``, the only one that is known.
    """

    pure = True
    reads = ("player_sum", "dealer_card", "usable_ace")

    def __init__(self, env_id: str = _ENV_ID) -> None:
        self.env_id = env_id

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
