"""Playing an environment, at random or guided, to see what happens in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.batches import batch_of_one
from llm_wrappers.captions.captioner import Captioner, Facts, batch_infos
from llm_wrappers.methods.sgrl._guide import Guide

__all__ = ["Moment", "moments"]

_LONGEST_EPISODE = 500


class Moment(NamedTuple):
    """A state that was met.

    Args:
        facts: Its facts.
        action: What led to it; None where an episode began.
        legal: What the environment's own `action_masks` says in it, shape (actions,), or None.
        guided: Whether it was met in a guided episode.
    """

    facts: Facts
    action: Any
    legal: NDArray[np.bool_] | None
    guided: bool


def moments(
    env: gym.Env[Any, Any], captioner: Captioner, *, steps: int, seed: int, guide: Guide | None
) -> Iterator[Moment]:
    """Yield the states met while playing; with a guide every other episode is guided.

    A guided episode draws from the actions that the mask of the current goal and the environment's
    own mask both leave open; where they have none in common, the environment's own holds.

    Args:
        env: The environment; it is reset for each episode.
        captioner: Gives the facts.
        steps: How many states to yield.
        seed: The seed of the first episode, the next one that of the second, and so on; and of the
            actions.
        guide: None to play at random only.
    """
    env.action_space.seed(seed)
    generator = np.random.default_rng(seed)
    episode, in_episode, over = -1, 0, False
    last: Moment | None = None
    for _ in range(steps):
        if last is None or over or in_episode >= _LONGEST_EPISODE:
            episode, in_episode, over, action = episode + 1, 0, False, None
            observation, info = env.reset(seed=seed + episode)
        else:
            action = _choose(env, last, guide if last.guided else None, generator)
            observation, _, terminated, truncated, info = env.step(action)
            in_episode, over = in_episode + 1, bool(terminated or truncated)
        batch = batch_of_one(env.observation_space, observation)
        facts = dict(captioner.facts(batch, batch_infos(info))[0])
        last = Moment(facts, action, _own_mask(env), guide is not None and episode % 2 == 0)
        yield last


def _own_mask(env: gym.Env[Any, Any]) -> NDArray[np.bool_] | None:
    if not env.has_wrapper_attr("action_masks"):
        return None
    return np.array(env.get_wrapper_attr("action_masks")(), dtype=np.bool_)


def _choose(
    env: gym.Env[Any, Any], moment: Moment, guide: Guide | None, generator: np.random.Generator
) -> Any:
    if guide is None:
        return env.action_space.sample()
    (plan,) = guide.plans([moment.facts])
    open_ = guide.mask(plan)
    if moment.legal is not None and moment.legal.any():
        both = open_ & moment.legal
        open_ = both if both.any() else moment.legal
    return guide.draw(open_, generator)
