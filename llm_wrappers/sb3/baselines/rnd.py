"""A reward for what was not seen before, by random network distillation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from llm_wrappers import checks
from llm_wrappers.errors import (
    GuidanceFileError,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.guidance.critical.table import CriticalStates, NoHits, resolve_critical_states
from llm_wrappers.sb3.baselines._distillation import Distillation

__all__ = ["RandomNetworkDistillation"]


class RandomNetworkDistillation(VecEnvWrapper):
    """Rewards observations that a network cannot predict yet, and needs no language model.

    Random network distillation (Burda et al. 2018, arXiv 1810.12894): the reward is the squared
    error of a predictor that is trained to give the same features as a fixed random network. It is
    divided by the running deviation of its discounted sum, which goes on through ends of
    episodes (section 2.4). One of the baselines of ELLM (arXiv 2302.06692).

    It differs from the paper in that there is one value head, the algorithm's own, and so one
    discount and one horizon for both rewards. The statistics of observations begin with the first
    `warmup` observations of training, in which nothing is paid, and not with random play.

    With `critical_states` it is what we take the LLM-RND of ULTRA (arXiv 2505.20671) to be: states
    that a language model has chosen, and this reward in place of its ratings. The paper's own
    description was not to be had, so that is a deduction.

    Each info has ``rnd_reward``, before it is weighted, and ``extrinsic_reward``, which layers
    below may have set already. The last observation of an episode is judged, not the first of the
    next.

    Args:
        venv: The environments, for example `llm_wrappers.sb3.as_vec_env(envs)`.
        key: The part of a Dict observation that counts; None where the observation is an array.
        intrinsic_weight: Of this reward, at least 0.
        extrinsic_weight: Of the reward of the layers below, at least 0; with 0 training is
            reward-free.
        features: How many numbers are predicted; our choice.
        hidden: Units of each hidden layer; our choice.
        learning_rate: Of the predictor.
        epochs: How often the predictor sees an observation that it is trained with.
        train_share: The share of observations that it is trained with, in (0, 1]; with many
            environments fewer will do, and the reward lasts longer.
        update_every: Steps, of all environments together, between two trainings.
        warmup: Observations from which only statistics are taken.
        gamma: The discount of the sum by whose deviation the reward is divided, in [0, 1).
        seed: Of the networks and of which observations are trained with.
        device: Where the networks are.
        critical_states: A `llm_wrappers.guidance.critical.table.CriticalStates` table, or
            ``"file:PATH"``: only steps that lead to one of its states are rewarded, while the
            predictor is trained with all observations. None rewards all steps.

    Attributes:
        training: False to leave networks and statistics as they are, for evaluation.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        IncompatibleEnvironmentError: If what is to be predicted is no Box, or the critical states
            are not of these observations.
        GuidanceFileError: If the file of critical states cannot be read.

    >>> from stable_baselines3.common.env_util import make_vec_env
    >>> envs = RandomNetworkDistillation(make_vec_env("CartPole-v1", n_envs=2), warmup=0)
    >>> observations = envs.reset()
    >>> observations, rewards, dones, infos = envs.step(np.array([0, 1]))
    >>> sorted(infos[0]), infos[0]["extrinsic_reward"]
    (['TimeLimit.truncated', 'extrinsic_reward', 'rnd_reward'], 1.0)
    """

    def __init__(
        self,
        venv: VecEnv,
        *,
        key: str | None = None,
        intrinsic_weight: float = 1.0,
        extrinsic_weight: float = 0.0,
        features: int = 64,
        hidden: int = 128,
        learning_rate: float = 1e-4,
        epochs: int = 4,
        train_share: float = 0.25,
        update_every: int = 32,
        warmup: int = 1_000,
        gamma: float = 0.99,
        seed: int = 0,
        device: str = "cpu",
        critical_states: str | CriticalStates | None = None,
    ) -> None:
        sizes = {"features": features, "hidden": hidden, "epochs": epochs}
        for name, number in {**sizes, "update_every": update_every}.items():
            checks.whole(name, number, least=1)
        for name, number in {"warmup": warmup, "seed": seed}.items():
            checks.whole(name, number, least=0)
        weights = {"intrinsic_weight": intrinsic_weight, "extrinsic_weight": extrinsic_weight}
        for name, weight in weights.items():
            checks.number(name, weight, least=0)
        checks.number("learning_rate", learning_rate, above=0)
        checks.number("train_share", train_share, above=0, most=1)
        if checks.number("gamma", gamma, least=0, most=1) == 1:
            raise InvalidOptionError("gamma must be below 1, got 1: the sum would have no end")
        super().__init__(venv)
        self._key = key
        self._critical = None if critical_states is None else _CriticalRows(critical_states, venv)
        self._networks = Distillation(
            _space_of(venv.observation_space, key),
            features=features,
            hidden=hidden,
            learning_rate=learning_rate,
            seed=seed,
            device=device,
        )
        self._weights = (float(intrinsic_weight), float(extrinsic_weight))
        self._epochs, self._share, self._update_every = epochs, train_share, update_every
        self._warmup, self._gamma = warmup, gamma
        self._return_statistics = RunningMeanStd(shape=())
        self._returns: NDArray[np.float64] = np.zeros(self.num_envs)
        self._kept: list[NDArray[Any]] = []
        self._counts = {"steps": 0, "observed": 0, "trained": 0, "updates": 0, "critical": 0}
        self._loss = 0.0
        self.training = True

    def reset(self) -> Any:
        """Start a new episode everywhere; what was learned stays."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Step the environments, reward what is new and train the predictor when it is due."""
        observations, rewards, dones, infos = self.venv.step_wait()
        reached = self._reached(observations, dones, infos)
        own = self._rewards(reached)
        if self._critical is not None:
            critical = self._critical.rows(observations, dones, infos)
            self._counts["critical"] += int(critical.sum())
            own = np.where(critical, own, 0.0)
        if self.training:
            self._train(reached)
        informed = [
            {"extrinsic_reward": float(reward), **info, "rnd_reward": float(novelty)}
            for info, reward, novelty in zip(infos, rewards, own, strict=True)
        ]
        intrinsic, extrinsic = self._weights
        mixed = intrinsic * own
        if extrinsic:
            mixed = mixed + extrinsic * rewards
        return observations, mixed.astype(np.float32), dones, informed

    def stats(self) -> dict[str, float]:
        """Return counters since construction, and the loss of the last training."""
        return {**self._counts, "loss": self._loss}

    def state_dict(self) -> dict[str, Any]:
        """Return what was learned and counted, as tensors and plain values."""
        returns = self._return_statistics
        return {
            "networks": self._networks.state_dict(),
            "returns": th.as_tensor(self._returns),
            "return_statistics": [float(returns.mean), float(returns.var), float(returns.count)],
            "kept": [th.as_tensor(rows) for rows in self._kept],
            "counts": dict(self._counts),
            "loss": self._loss,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; training goes on as if it had not stopped.

        Raises:
            InvalidOptionError: If it is the state of something else.
        """
        mine = self.state_dict()
        if state.keys() != mine.keys() or len(state["returns"]) != self.num_envs:
            raise InvalidOptionError(
                f"expected {sorted(mine)} of {self.num_envs} environments, got "
                f"{sorted(state)}; this is the state of something else"
            )
        try:
            self._networks.load_state_dict(state["networks"])
        except (RuntimeError, ValueError) as error:
            raise InvalidOptionError(
                f"the state is that of other networks: {error}; give the options that it was "
                "made with"
            ) from error
        self._returns = state["returns"].numpy().copy()
        returns = self._return_statistics
        mean, var, count = state["return_statistics"]
        returns.mean, returns.var, returns.count = np.array(mean), np.array(var), float(count)
        self._kept = [rows.numpy().copy() for rows in state["kept"]]
        self._counts = {**self._counts, **state["counts"]}
        self._loss = float(state["loss"])

    def save(self, path: str | Path) -> None:
        """Write the state to a file, since saving a model does not save its environments."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        th.save(self.state_dict(), target)

    def load(self, path: str | Path) -> None:
        """Restore the state from a file.

        Raises:
            GuidanceFileError: If it cannot be read.
            InvalidOptionError: If it holds the state of something else.
        """
        try:
            state = th.load(Path(path), weights_only=True)
        except Exception as error:  # torch raises many kinds for a file that is none of its own
            raise GuidanceFileError(
                f"expected a file written by RandomNetworkDistillation.save, got {path}: {error}"
            ) from error
        self.load_state_dict(state)

    def _reached(
        self, observations: Any, dones: NDArray[np.bool_], infos: Sequence[Mapping[str, Any]]
    ) -> NDArray[Any]:
        """Return what the steps led to, which at the end of an episode is not what is shown."""
        shown = self._part(observations)
        if not dones.any():
            return shown
        reached = shown.copy()
        for row in np.flatnonzero(dones).tolist():
            reached[row] = self._part(infos[row]["terminal_observation"])
        return reached

    def _part(self, observation: Any) -> NDArray[Any]:
        return np.asarray(observation if self._key is None else observation[self._key])

    def _rewards(self, reached: NDArray[Any]) -> NDArray[np.float64]:
        if self.training:
            self._networks.observe(reached)
            self._counts["observed"] += len(reached)
        if self._counts["observed"] <= self._warmup:
            return np.zeros(self.num_envs)
        errors = self._networks.errors(reached)
        if self.training:
            self._returns = self._gamma * self._returns + errors
            self._return_statistics.update(self._returns)
        scaled: NDArray[np.float64] = errors / np.sqrt(self._return_statistics.var + 1e-8)
        return scaled

    def _train(self, reached: NDArray[Any]) -> None:
        self._kept.append(reached[self._networks.chosen(self.num_envs, self._share)])
        self._counts["steps"] += 1
        if self._counts["steps"] % self._update_every:
            return
        batch, self._kept = np.concatenate(self._kept), []
        if len(batch):
            self._loss = self._networks.learn(batch, epochs=self._epochs)
            self._counts["trained"] += len(batch)
            self._counts["updates"] += 1


class _CriticalRows:
    """Looks up what the steps of a `VecEnv` led to in a table of critical states.

    Warns once if none was met in 1,000 steps: nothing is paid then.
    """

    def __init__(self, critical_states: str | CriticalStates, venv: VecEnv) -> None:
        table = resolve_critical_states(critical_states)
        self._table = table.bind(venv.observation_space, venv.action_space)
        self._counts = NoHits("steps", "hits")

    def rows(
        self, observations: Any, dones: NDArray[np.bool_], infos: Sequence[Mapping[str, Any]]
    ) -> NDArray[np.bool_]:
        """Return where a step led to a critical state; of an ended episode the last one counts."""
        found = self._table.match(observations) >= 0
        for row in np.flatnonzero(dones).tolist():
            last = _batch_of_one(infos[row]["terminal_observation"])
            found[row] = self._table.match(last)[0] >= 0
        self._count(found)
        return found

    def _count(self, found: NDArray[np.bool_]) -> None:
        self._counts["steps"] += len(found)
        self._counts["hits"] += int(found.sum())
        if len(self._table):
            self._counts.say_if_none(self._table.key)


def _batch_of_one(observation: Any) -> Any:
    if isinstance(observation, Mapping):
        return {key: np.asarray(part)[None] for key, part in observation.items()}
    return np.asarray(observation)[None]


def _space_of(space: spaces.Space[Any], key: str | None) -> spaces.Box:
    if isinstance(space, spaces.Dict):
        if key not in space.spaces:
            raise InvalidOptionError(
                f"expected key to be one of {sorted(space.spaces)}, since the observation is a "
                f"Dict, got {key!r}"
            )
        space = space.spaces[key]
    elif key is not None:
        raise InvalidOptionError(f"expected key=None, since {space} has no parts, got {key!r}")
    if not isinstance(space, spaces.Box):
        raise IncompatibleEnvironmentError(
            f"expected a Box to predict, got {space}; name a Box of a Dict with key, or wrap the "
            "environment so that it shows one"
        )
    return space
