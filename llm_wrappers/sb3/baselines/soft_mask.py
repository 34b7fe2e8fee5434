"""Eq. 5 of SGRL with a finite C: masked actions become unlikely instead of impossible."""

from __future__ import annotations

from typing import Any

import torch as th
from gymnasium import spaces
from sb3_contrib.common.maskable.distributions import (
    MaskableCategorical,
    MaskableCategoricalDistribution,
    MaskableDistribution,
    MaybeMasks,
)
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import CombinedExtractor

from llm_wrappers import checks
from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.schedules import coefficient, resolve_schedule

__all__ = ["SoftMaskCallback", "SoftMaskPolicy", "soft_masked_logits"]


def soft_masked_logits(logits: th.Tensor, masks: th.Tensor, strength: th.Tensor) -> th.Tensor:
    """Return z + (1 - M) * (-C), Eq. 5 of SGRL (arXiv 2509.22008).

    Args:
        logits: z, shape (n, actions).
        masks: M, True where an action is open, shape (n, actions).
        strength: C >= 0, a scalar. The paper does not give its value.

    >>> soft_masked_logits(th.tensor([[1.0, 2.0]]), th.tensor([[True, False]]), th.tensor(5.0))
    tensor([[ 1., -3.]])
    """
    return logits - (~masks).to(logits.dtype) * strength


class _SoftCategorical(MaskableCategorical):
    def __init__(self, logits: th.Tensor, strength: th.Tensor) -> None:
        self._strength = strength
        super().__init__(logits=logits)

    def apply_masking(self, masks: MaybeMasks) -> None:
        self.masks = None  # the entropy counts every action, since every action can be taken
        logits = self._original_logits
        if masks is not None:
            open_ = th.as_tensor(masks, dtype=th.bool, device=logits.device)
            logits = soft_masked_logits(logits, open_.reshape(logits.shape), self._strength)
        self.__dict__.pop("probs", None)
        super(MaskableCategorical, self).__init__(logits=logits, validate_args=self._validate_args)


class _SoftCategoricalDistribution(MaskableCategoricalDistribution):
    def __init__(self, action_dim: int, strength: th.Tensor) -> None:
        super().__init__(action_dim)
        self._strength = strength

    def proba_distribution(self, action_logits: th.Tensor) -> _SoftCategoricalDistribution:
        logits = action_logits.view(-1, self.action_dim)
        self.distribution = _SoftCategorical(logits, self._strength)
        return self


class SoftMaskPolicy(MaskableActorCriticPolicy):
    """A policy for MaskablePPO in which a mask lowers logits by C instead of closing actions.

    With a large C it is the hard mask; with C = 0 there is no mask. C is kept with the weights,
    and stays the same from a rollout through the update that learns from it.

    Args:
        observation_space: As in Stable-Baselines3; Dict and other spaces both work.
        action_space: A Discrete space.
        args: As in Stable-Baselines3.
        strength: C at the start, >= 0.
        kwargs: As in Stable-Baselines3.

    Raises:
        IncompatibleEnvironmentError: If the action space is not Discrete.
        InvalidOptionError: If C is negative or not finite.
    """

    strength: th.Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *args: Any,
        strength: float = 10.0,
        **kwargs: Any,
    ) -> None:
        if not isinstance(action_space, spaces.Discrete):
            raise IncompatibleEnvironmentError(
                f"expected a Discrete action space, got {action_space}"
            )
        if isinstance(observation_space, spaces.Dict):
            kwargs.setdefault("features_extractor_class", CombinedExtractor)
        super().__init__(observation_space, action_space, *args, **kwargs)
        self.register_buffer("strength", th.tensor(0.0, device=self.device))
        self.set_strength(strength)

    def set_strength(self, strength: float) -> None:
        """Set C for the rollouts and updates from now on."""
        self.strength.fill_(checks.number("strength", strength, least=0))

    def _get_action_dist_from_latent(self, latent_pi: th.Tensor) -> MaskableDistribution:
        # Made here, because moving a module to a device replaces its buffers.
        logits = self.action_net(latent_pi)
        distribution = _SoftCategoricalDistribution(logits.shape[1], self.strength)
        return distribution.proba_distribution(logits)


class SoftMaskCallback(BaseCallback):
    """Lowers C of a `SoftMaskPolicy` over training: C = strength * schedule(progress).

    Args:
        schedule: What `llm_wrappers.schedules.resolve_schedule` takes.
        strength: C where the schedule is 1.
        verbose: As in Stable-Baselines3.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        IncompatibleEnvironmentError: When training starts with another policy.
    """

    def __init__(
        self,
        schedule: Any,
        *,
        strength: float = 10.0,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        self._schedule = resolve_schedule(schedule)
        self._strength = checks.number("strength", strength, least=0)

    def _on_training_start(self) -> None:
        if not isinstance(self.model.policy, SoftMaskPolicy):
            raise IncompatibleEnvironmentError(
                f"SoftMaskCallback needs a SoftMaskPolicy, got {type(self.model.policy).__name__}"
            )

    def _on_rollout_start(self) -> None:
        progress = min(self.num_timesteps / max(self.model._total_timesteps, 1), 1.0)
        strength = self._strength * coefficient(self._schedule, progress)
        policy = self.model.policy
        assert isinstance(policy, SoftMaskPolicy)
        policy.set_strength(strength)
        self.logger.record("guidance/mask_strength", strength)

    def _on_step(self) -> bool:
        return True
