"""Stable-Baselines3 as ULTRA's pipeline needs it: `methods.ultra.refine` finds it by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from llm_wrappers.errors import UnknownNameError
from llm_wrappers.sb3.callbacks import GuidanceCallback
from llm_wrappers.sb3.models import training_env
from llm_wrappers.sb3.recording import record_trajectories
from llm_wrappers.sb3.relabel_callback import RelabelCallback
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["SB3Trainer", "named_trainer"]


class SB3Trainer:
    """A `Trainer` for the algorithms of Stable-Baselines3 and sb3-contrib."""

    def logged(self, env: Any) -> Any:
        """Return an environment inside of a `Monitor`; a vector environment as it is."""
        single = isinstance(env, gym.Env)
        return Monitor(env) if single and not is_wrapped(env, Monitor) else env

    def check(self, model: BaseAlgorithm, env: Any) -> None:
        """Raise `IncompatibleEnvironmentError` unless the model can train in the environment."""
        with training_env(model, env):
            pass

    def record(self, model: BaseAlgorithm, env: Any, **options: Any) -> Sequence[Trajectory]:
        """Play episodes with `record_trajectories`."""
        return record_trajectories(model, env, **options)

    def train(
        self,
        model: BaseAlgorithm,
        env: Any,
        *,
        steps: int,
        executed: bool,
        seed: int | None,
        callback: BaseCallback | Sequence[BaseCallback] = (),
        progress_bar: bool = False,
    ) -> None:
        """Train the model on, relabelling what an off-policy algorithm stores."""
        callbacks: list[BaseCallback] = [GuidanceCallback(start=model.num_timesteps)]
        if executed and isinstance(model, OffPolicyAlgorithm):
            callbacks.append(RelabelCallback())
        callbacks += [callback] if isinstance(callback, BaseCallback) else callback
        with training_env(model, env):
            if seed is not None:
                model.set_random_seed(seed)
            model.learn(
                steps, callback=callbacks, reset_num_timesteps=False, progress_bar=progress_bar
            )


def named_trainer(rest: str) -> SB3Trainer:
    """Return what ``trainer="sb3"`` stands for.

    Raises:
        UnknownNameError: If something stands behind it.
    """
    if rest:
        raise UnknownNameError(f"expected 'sb3' as a trainer, got 'sb3:{rest}'")
    return SB3Trainer()
