"""Judging a small problem once and for all, before an agent is trained in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance.judge import Judge, JudgeFunction, Judgements
from llm_wrappers.guidance.judges import TableJudge, resolve_judge
from llm_wrappers.guidance.states import States
from llm_wrappers.llm import LLM
from llm_wrappers.methods.lmgt.enumerate_states import enumerate_states
from llm_wrappers.methods.lmgt.llm_judge import LLMJudge

__all__ = ["annotate", "ask_all", "questions_about"]


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
    judgements = ask_all(judge, states, asked, progress_bar=progress_bar)
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


def ask_all(
    judge: Judge, states: States, actions: Sequence[Any], *, progress_bar: bool | None = None
) -> Judgements:
    """Return a judge's answers to all questions, waiting for those of a language model.

    Args:
        judge: One with a method ``prefill`` is asked by that.
        states: The n states.
        actions: The n actions.
        progress_bar: As in `LLM.ask_many`; only for a language model.
    """
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
