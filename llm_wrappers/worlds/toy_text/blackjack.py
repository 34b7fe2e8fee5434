"""Captions of Gymnasium's Blackjack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from llm_wrappers.captions.captioner import Facts
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError

__all__ = ["BlackjackCaptioner"]

_RULES = (
    "You play one hand of blackjack against a dealer. Cards come from an endless deck; face cards "
    "count 10, and an ace counts 11 if that does not take the hand over 21 (a usable ace), else 1. "
    "You see your own cards and one of the dealer's. Hitting gives you one more card; a hand over "
    "21 loses at once, for a reward of -1. When you stick, the dealer draws until 17 or more, and "
    "the hand nearer to 21 wins a reward of 1; a draw is 0."
)
_ACTIONS = ("stick", "hit")
_OBSERVATIONS = spaces.Tuple((spaces.Discrete(32), spaces.Discrete(11), spaces.Discrete(2)))


class BlackjackCaptioner:
    """Speaks about a hand of ``Blackjack-v1``.

    The facts are `player_sum` (4 to 31), `dealer_card` (1 to 10, an ace is 1) and `usable_ace`.

    Args:
        env_id: The Gymnasium id.

    >>> captioner = BlackjackCaptioner()
    >>> captioner.state_captions([{"player_sum": 16, "dealer_card": 1, "usable_ace": False}])
    ['Your cards sum to 16 without a usable ace; the dealer shows an ace.']
    """

    def __init__(self, env_id: str = "Blackjack-v1") -> None:
        self._description = EnvDescription(env_id=env_id, rules=_RULES, action_names=_ACTIONS)

    @property
    def description(self) -> EnvDescription:
        """The rules and the names of both actions; no goals."""
        return self._description

    @staticmethod
    def applies_to(observation_space: Any, action_space: Any) -> bool:
        """Return whether these are the spaces of the bare environment."""
        return bool(observation_space == _OBSERVATIONS and action_space == spaces.Discrete(2))

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

    def state_captions(self, facts: Sequence[Facts]) -> list[str]:
        """Return one sentence about each hand."""
        return [_sentence(row) for row in facts]

    def transition_captions(
        self, before: Sequence[Facts], actions: Sequence[Any], after: Sequence[Facts]
    ) -> list[str]:
        """Return each action by name and what it made of the hand."""
        return [
            _outcome(old, _ACTIONS[int(action)], new)
            for old, action, new in zip(before, actions, after, strict=True)
        ]


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
