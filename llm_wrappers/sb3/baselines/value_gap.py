"""Selecting the moments that went worse than a model's own critic expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance.critical.finding import ValueGapSelector
from llm_wrappers.sb3.models import FrozenModel

__all__ = ["critic_values", "named_value_gap", "value_gap_selector"]


def critic_values(
    model: BaseAlgorithm, *, normalizer: VecNormalize | None = None
) -> Callable[[Any], NDArray[np.float64]]:
    """Return a function from observations to the values of a model's critic.

    For PPO, A2C and other on-policy algorithms it is V; for DQN and QR-DQN the largest Q; for SAC,
    TD3, DDPG, CrossQ and TQC the least of the critics at the policy's own action, without the
    entropy of SAC. A critic that learnt from normalised rewards has values in their units.

    Args:
        model: The model.
        normalizer: What observations are normalised with; None for that of the model's own
            environment, if it has one.

    Returns:
        From observations of shape (n, ...), a dict of such for Dict spaces, to shape (n,).

    Raises:
        InvalidOptionError: If it is no model.
        IncompatibleEnvironmentError: If the model has no critic or a memory; in use, if the
            observations are not of its space.

    >>> from stable_baselines3 import PPO
    >>> values = critic_values(PPO("MlpPolicy", "CartPole-v1", device="cpu"))
    >>> values(np.zeros((5, 4))).shape
    (5,)
    """
    frozen = FrozenModel(model, normalizer=normalizer)
    score = _critic(model)

    def values(observations: Any) -> NDArray[np.float64]:
        return frozen.scores(model.policy, observations, score)

    return values


def value_gap_selector(
    model: BaseAlgorithm,
    *,
    normalizer: VecNormalize | None = None,
    gamma: float | None = None,
    min_gap: int = 1,
) -> ValueGapSelector:
    """Return a selector of the moments that went worse than a model's critic expected.

    Args:
        model: The model; its own critic finds what surprised it, that of a better one also what it
            does not know to be bad.
        normalizer: The `VecNormalize` of its training; None for that of the model's own
            environment, if it has one. Rewards are scaled as there, too, but not clipped.
        gamma: The discount; None for the model's.
        min_gap: How many steps two moments of an episode are apart at least.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        IncompatibleEnvironmentError: If the model has no critic, or a memory.
    """
    values = critic_values(model, normalizer=normalizer)
    scaler = FrozenModel(model, normalizer=normalizer).normalizer
    scale = 1.0
    if scaler is not None and scaler.norm_reward:
        scale = float(1.0 / np.sqrt(scaler.ret_rms.var + scaler.epsilon))
    return ValueGapSelector(
        values,
        gamma=float(getattr(model, "gamma", 1.0)) if gamma is None else gamma,
        reward_scale=scale,
        min_gap=min_gap,
    )


def named_value_gap(rest: str, *, model: Any = None, **context: Any) -> ValueGapSelector:
    """Return the selector of the name ``"value-gap"``.

    Args:
        rest: What stands behind a colon; nothing may.
        model: The model whose critic is asked.
        context: Not read.

    Raises:
        InvalidOptionError: If there is no model, or something behind the colon.
        IncompatibleEnvironmentError: If the model has no critic, or a memory.
    """
    if rest:
        raise InvalidOptionError(f"expected 'value-gap' without more, got 'value-gap:{rest}'")
    if model is None:
        raise InvalidOptionError("the selector 'value-gap' needs model=..., got None; give it")
    return value_gap_selector(model)


def _critic(model: BaseAlgorithm) -> Callable[[Any], th.Tensor]:
    policy: Any = model.policy
    if hasattr(policy, "predict_values"):
        values: Callable[[Any], th.Tensor] = policy.predict_values
        return values
    if hasattr(policy, "q_net"):
        return lambda seen: policy.q_net(seen).max(dim=1).values
    if hasattr(policy, "quantile_net"):
        return lambda seen: policy.quantile_net(seen).mean(dim=1).max(dim=1).values
    if getattr(policy, "critic", None) is not None and hasattr(policy, "actor"):
        return lambda seen: _least(policy.critic(seen, policy._predict(seen, deterministic=True)))
    raise IncompatibleEnvironmentError(
        f"expected a model with a critic, such as PPO, DQN or SAC, got {type(model).__name__}; use "
        "another selector"
    )


def _least(critics: Any) -> th.Tensor:
    # TQC has quantiles in one tensor, (n, critics, quantiles); others one tensor per critic.
    scores = th.cat(critics, dim=1) if isinstance(critics, tuple) else critics.mean(dim=2)
    least: th.Tensor = scores.min(dim=1).values
    return least
