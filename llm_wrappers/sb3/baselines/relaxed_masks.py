"""Masks that can be let go of: softened, or taught to the policy while they last.

A hard mask makes an action impossible, so that a policy learns nothing of it. `SoftMaskPolicy` has
Eq. 5 of SGRL with a finite C: masked actions become unlikely instead of impossible.
`MaskDistillationCallback` teaches a masked policy what its masks know, so that it can do without.
"""

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
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import CombinedExtractor

from llm_wrappers import checks
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.schedules import coefficient, resolve_schedule

__all__ = [
    "MaskDistillationCallback",
    "SoftMaskCallback",
    "SoftMaskPolicy",
    "masked_mass_loss",
    "soft_masked_logits",
]


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


def masked_mass_loss(logits: th.Tensor, masks: th.Tensor) -> th.Tensor:
    """Return the mean of -log(probability of the open actions), to be lowered by closed logits.

    The open logits are treated as constants: only closed ones are pushed down, and the policy
    that the mask leaves is not changed at the output.

    Args:
        logits: Of the policy without masks, shape (n, actions).
        masks: True where an action is open, shape (n, actions), an open one in each row.

    >>> logits = th.zeros(1, 2, requires_grad=True)
    >>> loss = masked_mass_loss(logits, th.tensor([[True, False]]))
    >>> loss.backward()
    >>> round(loss.item(), 4), logits.grad.tolist()
    (0.6931, [[0.0, 0.5]])
    """
    lowest = th.finfo(logits.dtype).min
    open_mass = th.logsumexp(th.where(masks, logits, lowest), dim=1).detach()
    closed_mass = th.logsumexp(th.where(masks, lowest, logits), dim=1)
    return th.nn.functional.softplus(closed_mass - open_mass).mean()


class MaskDistillationCallback(BaseCallback):
    """Pushes the logits of masked actions down during training with MaskablePPO.

    MaskablePPO never trains the logits of masked actions, so that a policy whose masks are lifted
    picks them at random. This callback lowers the probability that the policy without masks gives
    to them, once over each rollout after PPO has learned from it, so that masks can be relaxed
    later. SGRL (arXiv 2509.22008) does not have it: it is our choice, see "Relaxing the mask" in
    the documentation.

    Args:
        learning_rate: Of the optimiser used for this alone.
        batch_size: Samples per gradient step.
        verbose: As in Stable-Baselines3.

    Raises:
        InvalidOptionError: If an option is not positive.
        IncompatibleEnvironmentError: When training starts without masks or discrete actions.
    """

    def __init__(
        self, *, learning_rate: float = 3e-4, batch_size: int = 1024, verbose: int = 0
    ) -> None:
        super().__init__(verbose)
        if not learning_rate > 0 or not batch_size >= 1:
            raise InvalidOptionError(
                f"learning_rate and batch_size must be positive, got {learning_rate!r} and "
                f"{batch_size!r}"
            )
        self._learning_rate = learning_rate
        self._batch_size = batch_size

    def _on_training_start(self) -> None:
        policy = self.model.policy
        discrete = isinstance(self.model.action_space, spaces.Discrete)
        if not isinstance(policy, MaskableActorCriticPolicy) or not discrete:
            raise IncompatibleEnvironmentError(
                "MaskDistillationCallback needs MaskablePPO and a Discrete action space, got "
                f"{type(self.model).__name__} and {self.model.action_space}"
            )
        # Only the last layer: below it the closed logits share everything with the open ones.
        self._optimizer = th.optim.Adam(policy.action_net.parameters(), lr=self._learning_rate)
        self._batches: list[tuple[th.Tensor, th.Tensor]] = []

    def _on_rollout_end(self) -> None:
        # Not now: an action that is closed in one state is open in others, and PPO still needs the
        # policy whose log-probabilities are in the buffer. The buffer is emptied before the next
        # rollout, so that its contents are kept here.
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        self._batches = [
            (batch.observations, batch.action_masks.bool())
            for batch in buffer.get(self._batch_size)
        ]

    def _on_rollout_start(self) -> None:
        self._distil()

    def _on_training_end(self) -> None:
        self._distil()

    def _distil(self) -> None:
        losses = []
        policy: Any = self.model.policy
        for observations, masks in self._batches:
            loss = masked_mass_loss(_unmasked_logits(policy, observations), masks)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            losses.append(loss.item())
        self._batches = []
        if losses:
            self.logger.record("guidance/masked_mass_loss", sum(losses) / len(losses))

    def _on_step(self) -> bool:
        return True


def _unmasked_logits(policy: MaskableActorCriticPolicy, observations: th.Tensor) -> th.Tensor:
    # Not those of a distribution: it normalises them, and lowering one would raise the others.
    with th.no_grad():
        # The policy's own method returns two, where actor and critic do not share them.
        features = BasePolicy.extract_features(policy, observations, policy.pi_features_extractor)
        latent = policy.mlp_extractor.forward_actor(features)
    logits: th.Tensor = policy.action_net(latent)
    return logits
