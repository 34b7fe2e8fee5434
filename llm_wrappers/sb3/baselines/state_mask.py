"""Selecting moments by a network that learns where a policy's actions matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecNormalize

from llm_wrappers import checks
from llm_wrappers.errors import GuidanceFileError, InvalidOptionError
from llm_wrappers.guidance.critical.finding import CriticalMoment, moments_of
from llm_wrappers.sb3.models import FrozenModel, random_action
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["BlindingEnv", "StateMask", "named_state_mask", "train_state_mask"]

KEPT, BLINDED = 0, 1

_CHOICES = gym.spaces.Discrete(2)
_STEPS = 20_000
_PPO: dict[str, Any] = {"n_steps": 512, "device": "cpu"}


class StateMask:
    """Picks the steps at which a mask network would not replace the policy's action.

    The explanation of StateMask (Cheng et al., NeurIPS 2023) in the form of RICE (arXiv
    2405.03064): a second policy decides at each step whether that of the agent is "blinded", its
    action replaced by a random one. It is trained for the return of the environment plus a bonus
    for each blinded step, so that it learns to blind where actions do not matter. The importance of
    a step is its probability of not being blinded. An explanation without a language model, to
    compare one with.

    Args:
        network: The mask network, as `train_state_mask` trains it: action 0 keeps, 1 blinds.
        model: The model that it was trained for; its `VecNormalize` is that of the network.
        normalizer: What observations are normalised with; None for that of the model's own
            environment, if it has one.
        min_gap: How many steps two moments of an episode are apart at least.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        IncompatibleEnvironmentError: If the policy has a memory; in use, if observations are not of
            the network's space.
    """

    def __init__(
        self,
        network: PPO,
        model: BaseAlgorithm,
        *,
        normalizer: VecNormalize | None = None,
        min_gap: int = 1,
    ) -> None:
        checks.whole("min_gap", min_gap, least=1)
        actions = getattr(network, "action_space", None)
        if actions != _CHOICES:
            raise InvalidOptionError(
                "expected a mask network with two actions, keep and blind, got a "
                f"{type(network).__name__} with {actions}; train it with train_state_mask"
            )
        self.network, self.min_gap = network, min_gap
        self._frozen = FrozenModel(model, normalizer=normalizer)

    def importances(self, trajectories: Sequence[Trajectory]) -> list[NDArray[np.float64]]:
        """Return the probability that a step is not blinded, one array of shape (T,) per episode.

        Raises:
            IncompatibleEnvironmentError: If observations are not of the network's space.
        """
        return [self._kept(trajectory.observations)[:-1] for trajectory in trajectories]

    def select(
        self, trajectories: Sequence[Trajectory], *, per_episode: int
    ) -> list[CriticalMoment]:
        """Return the moments that are least likely to be blinded.

        Raises:
            InvalidOptionError: If `per_episode` is no whole number >= 1.
            IncompatibleEnvironmentError: If observations are not of the network's space.
        """
        return moments_of(
            self.importances(trajectories),
            per_episode=per_episode,
            min_gap=self.min_gap,
            rationale="kept by the mask network with probability {importance}",
        )

    def save(self, path: str | Path) -> None:
        """Write the mask network to a zip file of Stable-Baselines3."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.network.save(path)

    @classmethod
    def load(
        cls,
        path: str | Path,
        model: BaseAlgorithm,
        *,
        normalizer: VecNormalize | None = None,
        min_gap: int = 1,
        device: str = "cpu",
    ) -> StateMask:
        """Return the mask of a file; loading runs code in it, so take only files that you trust.

        Args:
            path: The file that `save` wrote.
            model: The model that the mask was trained for.
            normalizer: As for the constructor.
            min_gap: As for the constructor.
            device: Where the network is.

        Raises:
            GuidanceFileError: If the file cannot be read, or holds no mask network.
            InvalidOptionError: If an option is outside what is documented.
            IncompatibleEnvironmentError: If the policy of `model` has a memory.
        """
        try:
            network = PPO.load(path, device=device)
        except Exception as error:  # torch, zip and pickle raise many kinds for other files
            raise GuidanceFileError(
                f"expected a file written by StateMask.save, got {path}: {error}; train a mask "
                "with train_state_mask and save it there"
            ) from error
        if network.action_space != _CHOICES:
            raise GuidanceFileError(
                f"expected a file written by StateMask.save, got {path}, which holds no mask "
                f"network: that has two actions, keep and blind, and this one "
                f"{network.action_space}"
            )
        return cls(network, model, normalizer=normalizer, min_gap=min_gap)

    def _kept(self, observations: Any) -> NDArray[np.float64]:
        policy = self.network.policy

        def kept(seen: Any) -> th.Tensor:
            shares: Any = policy.get_distribution(seen).distribution
            probabilities: th.Tensor = shares.probs[:, KEPT]
            return probabilities

        return self._frozen.scores(policy, observations, kept)


def train_state_mask(
    model: BaseAlgorithm,
    env: gym.Env[Any, Any],
    *,
    steps: int = _STEPS,
    alpha: float = 1e-4,
    deterministic: bool = True,
    normalizer: VecNormalize | None = None,
    min_gap: int = 1,
    seed: int = 0,
    ppo: Mapping[str, Any] | None = None,
    callback: BaseCallback | None = None,
) -> StateMask:
    """Train a mask network with PPO, and return the selector it makes.

    Args:
        model: The trained model that is to be explained; it is not changed.
        env: An environment as the model plays it; it is reset, and neither closed nor changed.
        steps: Of training. The default is our choice; the paper takes 3e5 for MuJoCo.
        alpha: The bonus for each blinded step, at least 0. The paper names 1e-4 in its table and
            0.01 in its text.
        deterministic: Whether the model takes its most likely action.
        normalizer: What observations are normalised with; None for that of the model's own
            environment, if it has one.
        min_gap: How many steps two moments of an episode are apart at least.
        seed: Of the network, of its training and of the random actions.
        ppo: Options of PPO; 512 steps for each update, on the CPU, are our choice.
        callback: Goes into `learn`, to watch or stop the training.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        IncompatibleEnvironmentError: If the policy has a memory, or the spaces do not fit.

    >>> model = PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu")
    >>> mask = train_state_mask(model, gym.make("CartPole-v1"), steps=64, ppo={"n_steps": 64})
    >>> episode = Trajectory(np.zeros((3, 4)), [0, 1], [1.0, 1.0], True, False)
    >>> [moment.step for moment in mask.select([episode], per_episode=1)]
    [0]
    """
    checks.whole("steps", steps, least=1)
    checks.whole("seed", seed, least=0)
    checks.number("alpha", alpha, least=0)
    if not isinstance(env, gym.Env):
        raise InvalidOptionError(
            f"expected env to be a gymnasium.Env, got a {type(env).__name__}: give a single one"
        )
    frozen = FrozenModel(model, normalizer=normalizer)
    blinding = BlindingEnv(env, frozen, alpha=alpha, deterministic=deterministic, seed=seed)
    options = {"seed": seed, **_PPO, **(ppo or {})}
    network = PPO(_policy_for(blinding.observation_space), blinding, **options)
    network.learn(steps, callback=callback)
    return StateMask(network, model, normalizer=normalizer, min_gap=min_gap)


def named_state_mask(
    rest: str, *, model: Any = None, env: Any = None, seed: int = 0, **context: Any
) -> StateMask:
    """Return the selector of ``"state-mask"``, ``"state-mask:STEPS"`` or ``"state-mask:PATH.zip"``.

    Args:
        rest: How many steps are trained, or the file of a mask that was trained; nothing for the
            default of `train_state_mask`.
        model: The model that is explained.
        env: An environment as it plays it, to train in.
        seed: Of the training.
        context: Not read.

    Raises:
        InvalidOptionError: If there is no model, or no environment to train in.
        GuidanceFileError: If the file cannot be read, or holds no mask network.
    """
    if model is None:
        raise InvalidOptionError("the selector 'state-mask' needs model=..., got None; give it")
    if rest and not rest.isdecimal():
        return StateMask.load(rest, model)
    if env is None:
        raise InvalidOptionError(
            "the selector 'state-mask' needs env=... to train in, got None; give it, or the file "
            "of a mask that was trained, as in 'state-mask:mask.zip'"
        )
    return train_state_mask(model, env, steps=int(rest) if rest else _STEPS, seed=seed)


class BlindingEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Lets an agent replace the actions of a trained policy by random ones (RICE, StateMask).

    Action 0 executes what the policy does, action 1 a random action; the latter pays `alpha` more.
    Observations are as the policy sees them. The reward is the extrinsic one, whatever wrappers
    below add to it.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        policy: FrozenModel,
        *,
        alpha: float,
        deterministic: bool,
        seed: int,
    ) -> None:
        super().__init__(env)
        self._policy, self._alpha, self._deterministic = policy, alpha, deterministic
        self._random_space = deepcopy(env.action_space)
        self._random_space.seed(seed)
        self.action_space = gym.spaces.Discrete(2)
        if policy.normalizer is not None:
            self.observation_space = policy.normalizer.observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        return self._policy.normalized(self._observation), info

    def step(self, action: Any) -> Any:
        """Execute the action of the policy, or a random one."""
        masks = self._policy.masks(self.env)
        blinded = int(action) == BLINDED
        if blinded:
            executed = random_action(self._random_space, masks)
        else:
            executed = self._policy.action(
                self._observation, deterministic=self._deterministic, masks=masks
            )
        self._observation, reward, *ends, info = self.env.step(executed)
        paid = float(info.get("extrinsic_reward", reward)) + self._alpha * blinded
        return self._policy.normalized(self._observation), paid, *ends, info


def _policy_for(space: gym.Space[Any]) -> str:
    if isinstance(space, gym.spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if is_image_space(space) else "MlpPolicy"
