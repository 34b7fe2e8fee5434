"""All states of a small discrete problem in which an agent decides something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.guidance.states import States

__all__ = ["enumerate_states"]

_HARD_SUMS, _SOFT_SUMS, _DEALER_CARDS = range(4, 22), range(12, 22), range(1, 11)


def enumerate_states(env: gym.Env[Any, Any], captioner: Captioner | None = None) -> States:
    """Return all states in which an agent has to act.

    For ``Blackjack-v1`` these are 280 hands: sums of 4 to 21 without and of 12 to 21 with a usable
    ace, against ten cards of the dealer. For an environment with Discrete observations they are
    those that its transition model ``P`` (FrozenLake, CliffWalking, Taxi) can reach and in which
    the episode goes on; without a model, all observations.

    Args:
        env: The environment; it is neither reset nor stepped.
        captioner: None for the environment's own.

    Raises:
        IncompatibleEnvironmentError: If its states cannot be listed.

    >>> len(enumerate_states(gym.make("Blackjack-v1")))
    280
    >>> len(enumerate_states(gym.make("FrozenLake-v1")))  # 16 tiles without 4 holes and the goal
    11
    """
    speaks = resolve_captioner(env, captioner)
    space = env.observation_space
    if isinstance(space, gym.spaces.Discrete):
        observations: Any = np.array(_discrete_states(env, space))
    elif _is_blackjack(env):
        observations = _blackjack_hands()
    else:
        raise IncompatibleEnvironmentError(
            "expected an environment whose states can be listed: Blackjack-v1, or Discrete "
            f"observations, such as FrozenLake-v1; got {space}. Give states=..., for example those "
            "that you have recorded"
        )
    facts: Sequence[Facts] = speaks.facts(observations, {})
    return States(facts, speaks.state_captions)


def _is_blackjack(env: gym.Env[Any, Any]) -> bool:
    spec = env.unwrapped.spec
    own_space = env.observation_space == env.unwrapped.observation_space
    return spec is not None and spec.id == "Blackjack-v1" and own_space


def _blackjack_hands() -> tuple[np.ndarray[Any, Any], ...]:
    sums = [(total, 0) for total in _HARD_SUMS] + [(total, 1) for total in _SOFT_SUMS]
    hands = [(total, card, ace) for total, ace in sums for card in _DEALER_CARDS]
    return tuple(np.array(column) for column in zip(*hands, strict=True))


def _discrete_states(env: gym.Env[Any, Any], space: gym.spaces.Discrete[Any]) -> list[int]:
    base: Any = env.unwrapped
    has_model = hasattr(base, "P") and hasattr(base, "initial_state_distrib")
    if not has_model or space != base.observation_space:
        return list(range(int(space.start), int(space.start + space.n)))
    found = {int(state) for state in np.flatnonzero(base.initial_state_distrib)}
    waiting = list(found)
    while waiting:
        outcomes = [o for action in base.P[waiting.pop()].values() for o in action]
        reached = {int(state) for p, state, _, ended in outcomes if p > 0 and not ended}
        waiting.extend(reached - found)
        found |= reached
    return sorted(found)
