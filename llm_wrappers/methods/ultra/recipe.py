"""ULTRA (arXiv 2505.20671): advised actions and rewards in the critical states of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from llm_wrappers.guidance.critical.table import CriticalStates
from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers import CriticalStateOverrideWrapper, vector

__all__ = ["wrap"]


def wrap(
    env: Any,
    critical_states: str | CriticalStates,
    *,
    mode: str = "RA",
    alpha: float = 0.5,
    schedule: float | Mapping[str, Any] | Schedule = 1.0,
    probability: float | Mapping[str, Any] | Schedule = 0.5,
    reward: str = "agreement",
    advice: str = "execute",
    tolerance: float = 0.1,
    training: bool = True,
) -> Any:
    """Give advice and rewards in the critical states of an environment or a vector environment.

    The defaults are not the paper's, which is ``probability=1.0, reward="state"``: with these a
    policy learns nothing about the advised action. `CriticalStateOverrideWrapper` has the details
    of all options. `refine` does the whole pipeline, from a trained policy on.

    Args:
        env: An environment, or a vector environment, whose twin is then used.
        critical_states: A table, ``"file:PATH"``, or ``"none"``, which changes nothing.
        mode: ``"RA"``, ``"A"`` or ``"R"``.
        alpha: The size of the added rewards: in the paper 0.5 for Pong, 0.1 for MuJoCo.
        schedule: A coefficient on alpha over training progress.
        probability: With which probability the advice is executed.
        reward: ``"agreement"`` or ``"state"``.
        advice: ``"execute"``, or ``"mask"`` for MaskablePPO.
        tolerance: How far an action of a Box may be from the advice and still agree with it.
        training: False switches all of it off, for evaluation.

    Returns:
        The wrapped environment.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        GuidanceFileError: If the file is missing or holds no table.
        IncompatibleEnvironmentError: If the table does not fit the environment.

    >>> from llm_wrappers.guidance.critical.table import CriticalState
    >>> table = CriticalStates([CriticalState(0, 2)], key="exact")
    >>> env = wrap(gym.make("FrozenLake-v1", is_slippery=False), table)
    >>> observation, info = env.reset(seed=0)
    >>> env.step(2)[1]
    0.5
    """
    many = isinstance(env, gym.vector.VectorEnv)
    overriding = vector.CriticalStateOverrideWrapper if many else CriticalStateOverrideWrapper
    return overriding(
        env,
        critical_states=critical_states,
        mode=mode,
        alpha=alpha,
        schedule=schedule,
        probability=probability,
        reward=reward,
        advice=advice,
        tolerance=tolerance,
        training=training,
    )
