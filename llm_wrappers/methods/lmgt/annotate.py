"""Judging a small problem once and for all, before an agent is trained in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance.judge import Judge, JudgeFunction, Judgements
from llm_wrappers.guidance.judges import TableJudge, resolve_judge
from llm_wrappers.guidance.states import States
from llm_wrappers.llm import LLM
from llm_wrappers.methods.lmgt.llm_judge import LLMJudge

__all__ = ["all_judgements", "annotate", "enumerate_states", "questions_about"]

_HARD_SUMS, _SOFT_SUMS, _DEALER_CARDS = range(4, 22), range(12, 22), range(1, 11)


def annotate(
    judge: LLM | str | Judge | JudgeFunction,
    env: gym.Env[Any, Any],
    *,
    states: States | None = None,
    actions: Sequence[Any] | None = None,
    captioner: Captioner | None = None,
    progress_bar: bool | None = None,
) -> TableJudge:
    """Have every action in every state of a small discrete problem judged, and return the table.

    LMGT (arXiv 2409.04744) asks its model in each step. Where there are few states, asking about
    all of them beforehand costs less and makes training reproducible: Blackjack has 280 states with
    two actions, 560 questions. Save the table with `TableJudge.save`, and train with
    ``"file:TABLE.json"``: no step asks anybody.

    With a language model, answers are kept in the client's cache as they come: after Ctrl-C, a
    spent budget or an error the next call pays only for what is missing.

    Args:
        judge: Who judges. A client alone stands for ``LLMJudge(llm, description)``; a judge without
            answers to some questions leaves them out of the table.
        env: The environment; it is neither reset nor stepped.
        states: The states; None for those of `enumerate_states`.
        actions: The actions; None for all of a Discrete action space.
        captioner: None for the environment's own.
        progress_bar: As in `LLM.ask_many`.

    Raises:
        IncompatibleEnvironmentError: If states or actions cannot be listed.
        InvalidOptionError: If there are no states, or no facts that tell them apart.
        LLMWrappersError: As `LLM.ask_many` says.

    >>> table = annotate("oracle", gym.make("Blackjack-v1"))
    >>> len(table), table.reads
    (560, ('player_sum', 'dealer_card', 'usable_ace'))
    """
    description = resolve_captioner(env, captioner).description
    if isinstance(judge, LLM):
        judge = LLMJudge(judge, description)
    judge = resolve_judge(judge, description=description)
    states, asked = questions_about(env, states=states, actions=actions, captioner=captioner)
    reads = _telling_facts(states.facts)
    judgements = all_judgements(judge, states, asked, progress_bar=progress_bar)
    rows = zip(states.facts, asked, judgements, strict=True)
    return TableJudge(
        [(facts, action, value) for facts, action, value in rows if value is not None], reads=reads
    )


def questions_about(
    env: gym.Env[Any, Any],
    *,
    states: States | None = None,
    actions: Sequence[Any] | None = None,
    captioner: Captioner | None = None,
) -> tuple[States, list[Any]]:
    """Return n states and n actions: each state with each action.

    Args:
        env: The environment; it is neither reset nor stepped.
        states: The states; None for those of `enumerate_states`.
        actions: The actions; None for all of a Discrete action space.
        captioner: None for the environment's own.

    Raises:
        IncompatibleEnvironmentError: If states or actions cannot be listed.

    >>> states, actions = questions_about(gym.make("Blackjack-v1"))
    >>> len(states), actions[:3]
    (560, [0, 1, 0])
    """
    speaks = resolve_captioner(env, captioner)
    listed = enumerate_states(env, captioner) if states is None else states
    choices = _all_actions(env) if actions is None else list(actions)
    facts = [row for row in listed.facts for _ in choices]
    return States(facts, speaks.state_captions), choices * len(listed)


def all_judgements(
    judge: Judge, states: States, actions: Sequence[Any], *, progress_bar: bool | None = None
) -> Judgements:
    """Return a judge's answers to n questions, waiting for those of a language model."""
    prefill = getattr(judge, "prefill", None)
    if prefill is None:
        return judge.judge(states, actions)
    answers: Judgements = prefill(states, actions, progress_bar=progress_bar)
    return answers


def _all_actions(env: gym.Env[Any, Any]) -> list[int]:
    space = env.action_space
    if not isinstance(space, gym.spaces.Discrete):
        raise IncompatibleEnvironmentError(
            f"expected a Discrete action space, got {space}; give actions=[...]"
        )
    return list(range(int(space.start), int(space.start + space.n)))


def _telling_facts(facts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the facts that a file can hold as keys."""
    if not facts:
        raise InvalidOptionError("expected at least one state and one action, got none")
    first = facts[0]
    names = tuple(name for name, value in first.items() if isinstance(value, bool | int | str))
    if not names:
        raise InvalidOptionError(
            "expected states with whole numbers, truth values or texts among their facts, by which "
            f"a table can tell them apart; got {sorted(first)}"
        )
    return names


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
