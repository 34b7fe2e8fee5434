"""Situations for the author of a planner to look at, and for its code to be tried on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym

from llm_wrappers.captions.captioner import Captioner, batch_infos
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.wrappers.goal_observation import batch_of_one

__all__ = ["describe_facts", "record_states"]

_STEPS_PER_STATE = 20
_LONGEST_EPISODE = 500
_MOST_VALUES = 8


def record_states(
    env: gym.Env[Any, Any],
    *,
    states: int = 300,
    seed: int = 0,
    captioner: Captioner | None = None,
) -> list[dict[str, Any]]:
    """Return the facts of different states, met by acting at random.

    Args:
        env: The environment; it is reset, and left where the play ended.
        states: How many different states are wanted; fewer come back if they do not turn up within
            20 steps each (our choice).
        seed: The seed of the first episode and of the actions.
        captioner: None for the environment's own.

    Raises:
        InvalidOptionError: If `states` is not a positive whole number.

    >>> env = gym.make("CartPole-v1")
    >>> len(record_states(env, states=5))
    5
    """
    if isinstance(states, bool) or not isinstance(states, int) or states < 1:
        raise InvalidOptionError(f"states must be a whole number >= 1, got {states!r}")
    captioner = resolve_captioner(env, captioner)
    env.action_space.seed(seed)
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    in_episode, over, next_seed = 0, True, seed
    for _ in range(states * _STEPS_PER_STATE):
        if over or in_episode >= _LONGEST_EPISODE:
            observation, info = env.reset(seed=next_seed)
            in_episode, next_seed = 0, next_seed + 1
        else:
            observation, _, terminated, truncated, info = env.step(env.action_space.sample())
            in_episode += 1
            over = bool(terminated or truncated)
        batch = batch_of_one(env.observation_space, observation)
        facts = dict(captioner.facts(batch, batch_infos(info))[0])
        found.setdefault(tuple(sorted(facts.items())), facts)
        over = over if in_episode else False
        if len(found) == states:
            break
    return list(found.values())


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
