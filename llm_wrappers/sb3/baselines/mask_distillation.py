"""Teaching a masked policy what its masks know, so that it can do without them."""

from __future__ import annotations

from typing import Any

import torch as th
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError

__all__ = ["MaskDistillationCallback", "masked_mass_loss"]


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
