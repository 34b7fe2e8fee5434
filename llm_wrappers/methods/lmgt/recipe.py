"""LMGT (arXiv 2409.04744): rewards shifted by a judge of what the agent does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.guidance.judge import Judge, JudgeFunction
from llm_wrappers.guidance.potential import Potential, PotentialFunction
from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers import RewardShiftWrapper, vector

__all__ = ["wrap"]


def wrap(
    env: Any,
    judge: str | Judge | JudgeFunction | Potential | PotentialFunction | None = None,
    *,
    captioner: Captioner | None = None,
    mode: str = "raw",
    scale: float = 1.0,
    schedule: float | Mapping[str, Any] | Schedule = 1.0,
    only: str | None = None,
    center: bool = False,
    consult_every: int = 1,
    consult_probability: float | Mapping[str, Any] | Schedule = 1.0,
    gamma: float | None = None,
    audit_against: str | Judge | JudgeFunction | None = None,
    training: bool = True,
) -> Any:
    """Shift the rewards of an environment or a vector environment by a judge.

    The paper's shift is not policy-invariant: an agent can live off approval. ``mode="potential"``
    is. `RewardShiftWrapper` has the details of all options.

    Args:
        env: An environment, or a vector environment, whose twin is then used.
        judge: ``"llm:MODEL?cache=FILE"``, ``"file:TABLE.json"``, another name, an object or a
            function; with ``mode="potential"`` a potential. None for ``"reference"``, a rule that
            is written by hand and ships for classic control, Blackjack and FrozenLake.
        captioner: None for the environment's own.
        mode: ``"raw"``, as in the paper, or ``"potential"``.
        scale: What judgements are multiplied with.
        schedule: The coefficient on the scale over training progress.
        only: ``"negative"`` or ``"positive"`` keeps judgements of one sign.
        center: Whether the mean of the judgements so far is taken off.
        consult_every: The judge is asked in each k-th step of an episode.
        consult_probability: With which probability it is asked.
        gamma: The discount of the algorithm, for ``mode="potential"``.
        audit_against: A second judge to compare with, such as ``"oracle"``.
        training: False switches all of it off, for evaluation: no judge is asked.

    Returns:
        The wrapped environment.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If a name is not known, or no judge is given and no reference ships for
            the environment.

    >>> env = wrap(gym.make("CartPole-v1"), scale=0.5)
    >>> observation, info = env.reset(seed=0)
    >>> env.step(1)[1]
    0.5
    """
    shifted = vector.RewardShiftWrapper if _is_vector(env) else RewardShiftWrapper
    return shifted(
        env,
        judge="reference" if judge is None else judge,
        captioner=captioner,
        mode=mode,
        scale=scale,
        schedule=schedule,
        only=only,
        center=center,
        consult_every=consult_every,
        consult_probability=consult_probability,
        gamma=gamma,
        audit_against=audit_against,
        training=training,
    )


def _is_vector(env: Any) -> bool:
    return isinstance(env, gym.vector.VectorEnv)
