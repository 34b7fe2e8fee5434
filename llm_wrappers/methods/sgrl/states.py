"""Situations for the author of a planner to look at, and for its code to be tried on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.methods.sgrl._episode import Episode
from llm_wrappers.methods.sgrl._guide import Guidance, Guide
from llm_wrappers.methods.sgrl._play import Moment, moments

__all__ = [
    "GUIDED_STEPS_PER_STATE",
    "describe_facts",
    "record_episodes",
    "record_states",
    "states_of",
]

GUIDED_STEPS_PER_STATE = 10
"""How many steps guided play takes for each state that is wanted (our choice)."""

_STEPS_PER_STATE = 20
_MOST_VALUES = 8


def record_states(
    env: gym.Env[Any, Any],
    *,
    states: int = 300,
    seed: int = 0,
    captioner: Captioner | None = None,
    guided_by: Guidance | None = None,
    goals: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Return the facts of different states, met by acting at random, or guided in part.

    At random, the first states that differ are taken. Random play of a long game meets few of its
    later states; with `guided_by`, every other episode draws its actions from those that the mask
    of the planner's current goal leaves open, and the states are taken evenly from all that was
    met in 10 steps for each state wanted (our choice).

    Args:
        env: The environment; it is reset, and left where the play ended.
        states: How many different states are wanted; fewer come back if they do not turn up within
            20 steps each (our choice), guided 10.
        seed: The seed of the first episode and of the actions.
        captioner: None for the environment's own.
        guided_by: An artefact (its planner runs contained), a name such as
            ``"reference:craftax-classic"``, or a planner and masks; None to act at random.
        goals: The goal vocabulary of `guided_by`; None for that of the environment.

    Raises:
        InvalidOptionError: If `states` is not a positive whole number.
        IncompatibleEnvironmentError: If the play is guided and the actions are not Discrete.

    >>> env = gym.make("CartPole-v1")
    >>> len(record_states(env, states=5))
    5
    """
    checks.whole("states", states, least=1)
    captioner = resolve_captioner(env, captioner)
    if guided_by is not None:
        steps = states * GUIDED_STEPS_PER_STATE
        episodes = record_episodes(
            env, steps=steps, seed=seed, captioner=captioner, guided_by=guided_by, goals=goals
        )
        return states_of(episodes, states=states)
    found: dict[Any, dict[str, Any]] = {}
    for moment in moments(env, captioner, steps=states * _STEPS_PER_STATE, seed=seed, guide=None):
        _note(found, moment.facts)
        if len(found) == states:
            break
    return list(found.values())


def record_episodes(
    env: gym.Env[Any, Any],
    *,
    steps: int = 3000,
    seed: int = 0,
    captioner: Captioner | None = None,
    guided_by: Guidance | Guide | None = None,
    goals: Sequence[str] | None = None,
) -> list[Episode]:
    """Return what was met and done in some episodes, with `guided_by` every other one guided.

    Args:
        env: The environment; it is reset, and left where the play ended.
        steps: How many states to meet in all; an episode is left after 500 (our choice).
        seed: The seed of the first episode and of the actions.
        captioner: None for the environment's own.
        guided_by: As in `record_states`.
        goals: The goal vocabulary of `guided_by`; None for that of the environment.

    Raises:
        InvalidOptionError: If `steps` is not a positive whole number.
        IncompatibleEnvironmentError: If the play is guided and the actions are not Discrete.

    >>> episodes = record_episodes(gym.make("CartPole-v1"), steps=100)
    >>> sum(len(episode.facts) for episode in episodes)
    100
    """
    checks.whole("steps", steps, least=1)
    captioner = resolve_captioner(env, captioner)
    if guided_by is None or isinstance(guided_by, Guide):
        return _episodes(moments(env, captioner, steps=steps, seed=seed, guide=guided_by))
    guide = Guide(
        guided_by, description=captioner.description, action_space=env.action_space, goals=goals
    )
    try:
        return _episodes(moments(env, captioner, steps=steps, seed=seed, guide=guide))
    finally:
        guide.close()


def states_of(episodes: Sequence[Episode], *, states: int) -> list[dict[str, Any]]:
    """Return at most so many different states, taken evenly from what was recorded.

    Args:
        episodes: What was recorded.
        states: The most to return.
    """
    checks.whole("states", states, least=1)
    found: dict[Any, dict[str, Any]] = {}
    for episode in episodes:
        for facts in episode.facts:
            _note(found, facts)
    met = list(found.values())
    if len(met) <= states:
        return met
    return [met[position * len(met) // states] for position in range(states)]


def _episodes(met: Iterable[Moment]) -> list[Episode]:
    played: list[list[Moment]] = []
    for moment in met:
        if moment.action is None:
            played.append([])
        played[-1].append(moment)
    return [_episode(moments_) for moments_ in played]


def _episode(met: Sequence[Moment]) -> Episode:
    own = [moment.legal for moment in met[:-1]]
    return Episode(
        facts=[moment.facts for moment in met],
        actions=[moment.action for moment in met[1:]],
        legal=None if met[0].legal is None else np.array(own, dtype=np.bool_),
        guided=met[0].guided,
    )


def _note(found: dict[Any, dict[str, Any]], facts: Mapping[str, Any]) -> None:
    found.setdefault(tuple(sorted(facts.items())), dict(facts))


def describe_facts(states: Sequence[Mapping[str, Any]]) -> str:
    """Return one line per fact: its name, its type, and the values seen.

    Args:
        states: Recorded states.

    >>> print(describe_facts([{"wood": 0, "facing": "tree"}, {"wood": 3, "facing": "grass"}]))
    - `wood`: whole number, 0 to 3
    - `facing`: text, one of 'grass', 'tree'
    """
    names = dict.fromkeys(name for state in states for name in state)
    return "\n".join(
        f"- `{name}`: {_described([state[name] for state in states if name in state])}"
        for name in names
    )


def _described(values: Sequence[Any]) -> str:
    known = [value for value in values if value is not None]
    text = _kind(known) if known else "None in all situations so far"
    return f"{text}, or None" if known and len(known) < len(values) else text


def _kind(values: Sequence[Any]) -> str:
    first = values[0]
    if isinstance(first, bool):
        return "True or False"
    if isinstance(first, int | float):
        name = "whole number" if all(isinstance(value, int) for value in values) else "number"
        return f"{name}, {min(values):.4g} to {max(values):.4g}"
    if isinstance(first, str):
        return f"text, one of {_listed(set(values))}"
    if isinstance(first, tuple | list | frozenset | set):
        return f"{type(first).__name__} of {_listed({item for value in values for item in value})}"
    return type(first).__name__


def _listed(values: set[Any]) -> str:
    shown = [repr(value) for value in sorted(values, key=repr)]
    if len(shown) > _MOST_VALUES:
        shown = [*shown[:_MOST_VALUES], "..."]
    return ", ".join(shown) or "nothing so far"
