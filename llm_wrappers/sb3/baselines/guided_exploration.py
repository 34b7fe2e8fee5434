"""Exploration that a pretrained policy takes part in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from llm_wrappers import checks
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError

__all__ = ["GuidedDQN"]


class GuidedDQN(DQN):
    """A DQN whose random actions are taken in part by a pretrained policy.

    The guided exploration of ELLM (arXiv 2302.06692): a fresh agent learns a task, and with
    probability 0.5 an action that epsilon-greedy would choose at random is that of the policy which
    was pretrained without reward. Q-learning is off-policy, so that learning itself needs no
    change. The guide is asked for a sample of its actions (a DQN's is its greedy one), and is not
    trained. Before `learning_starts` actions are random, as in Stable-Baselines3.

    It is saved and loaded like a DQN, the guide being part of the file.

    Args:
        policy: As in DQN.
        env: As in DQN.
        guide: The pretrained model, or its policy, with the same spaces; None for a plain DQN.
        guide_share: How many of the random actions are the guide's, in [0, 1].
        options: Everything else that DQN takes.

    Attributes:
        explored: How many actions were not greedy, since the model was made.
        guided: How many of these were the guide's.

    Raises:
        InvalidOptionError: If `guide_share` is outside [0, 1], or the guide is no model.
        IncompatibleEnvironmentError: If the guide has other spaces.

    >>> pretrained = DQN("MlpPolicy", "CartPole-v1", device="cpu")
    >>> model = GuidedDQN("MlpPolicy", "CartPole-v1", guide=pretrained, device="cpu")
    >>> model.guide_share
    0.5
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        guide: BaseAlgorithm | BasePolicy | None = None,
        guide_share: float = 0.5,
        **options: Any,
    ) -> None:
        guide_share = checks.number("guide_share", guide_share, least=0, most=1)
        super().__init__(policy, env, **options)
        self.guide = None if guide is None else _checked_policy(guide, self)
        self.guide_share = guide_share
        self.explored = 0
        self.guided = 0

    def predict(
        self,
        observation: Any,
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Return actions: greedy ones, or with probability epsilon exploring ones.

        Args:
            observation: One observation or a batch of n.
            state: Not used.
            episode_start: Not used.
            deterministic: Whether never to explore.
        """
        # The draws of a DQN come first and in its order: without a guide it is one.
        explores = not deterministic and np.random.rand() < self.exploration_rate  # noqa: NPY002
        if not explores:
            return self.policy.predict(observation, state, episode_start, deterministic=True)
        batched = self.policy.is_vectorized_observation(observation)
        number = _batch_size(observation) if batched else 1
        actions = np.array([self.action_space.sample() for _ in range(number)])
        if self.guide is not None:
            chosen = np.random.rand(number) < self.guide_share  # noqa: NPY002
            if chosen.any():
                advised, _ = self.guide.predict(observation)
                actions = np.where(chosen, np.reshape(advised, number), actions)
            self.guided += int(chosen.sum())
        self.explored += number
        return (actions if batched else actions[0]), state


def _batch_size(observation: Any) -> int:
    part = next(iter(observation.values())) if isinstance(observation, dict) else observation
    return len(part)


def _checked_policy(guide: Any, model: DQN) -> BasePolicy:
    policy = guide.policy if isinstance(guide, BaseAlgorithm) else guide
    if not isinstance(policy, BasePolicy):
        raise InvalidOptionError(
            f"guide must be a trained model or its policy, got a {type(guide).__name__}"
        )
    for name in ("observation_space", "action_space"):
        mine, its = getattr(model, name), getattr(policy, name)
        if mine != its:
            raise IncompatibleEnvironmentError(
                f"the guide must have the {name} of the environment, {mine}, got {its}; wrap both "
                "environments alike"
            )
    policy.set_training_mode(False)
    return policy
