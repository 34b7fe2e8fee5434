"""Driving schedules and logging guidance during training."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from llm_wrappers.errors import GuidanceWarning, InvalidOptionError

__all__ = ["GuidanceCallback"]

_EPISODES_TO_COMPARE = 20
_WIDEST = 33


class GuidanceCallback(BaseCallback):
    """Sets the training progress in every wrapper that has a schedule, and logs what guidance did.

    The progress is the share of the whole training that is done, across all sub-environments; it
    is set before each rollout. With ``reset_num_timesteps=False`` it goes on from the steps done
    before, unless `start` says where it begins. The counters of the wrappers are logged as
    ``guidance/<wrapper>/<counter>``.

    Two mistakes with shifted rewards are said here, because only here the discount is known:
    shaping with another discount than the algorithm's raises, and shifts that could add up to more
    than any episode has paid so far are warned of, once, after 20 episodes (our choice).

    Args:
        total_steps: The steps over which the schedules run from 0 to 1; None for those of this
            call of ``learn``.
        start: The algorithm's `num_timesteps` at which they are 0: give ``model.num_timesteps``
            where a trained model is guided from now on.
        verbose: As in Stable-Baselines3.

    Raises:
        InvalidOptionError: If `total_steps` is not a positive whole number, or `start` none from 0;
            at the start of the training, if a potential assumes another discount than the
            algorithm has.

    >>> import gymnasium as gym
    >>> from stable_baselines3 import PPO
    >>> from llm_wrappers import ActionMaskWrapper, GoalObservationWrapper
    >>> def planner(facts):
    ...     left = [row["pole_lean"] == "left" for row in facts]
    ...     return [[("go left" if falls else "go right", 1.0)] for falls in left]
    >>> env = GoalObservationWrapper(
    ...     gym.make("CartPole-v1"), planner=planner, goals=["go left", "go right"]
    ... )
    >>> env = ActionMaskWrapper(
    ...     env, masks={"go left": [0], "go right": [1]}, enforce="resample",
    ...     schedule={"kind": "linear", "start": 1.0, "end": 0.0},
    ... )
    >>> model = PPO("MultiInputPolicy", env, n_steps=64, batch_size=64, device="cpu")
    >>> model = model.learn(128, callback=GuidanceCallback())
    >>> env.stats()["xi"]
    0.5
    """

    def __init__(self, *, total_steps: int | None = None, start: int = 0, verbose: int = 0) -> None:
        super().__init__(verbose)
        if total_steps is not None:
            _check_whole("total_steps", total_steps, least=1)
        _check_whole("start", start, least=0)
        self._total_steps = total_steps
        self._start = start
        self._outweighing_said = False

    @property
    def progress(self) -> float:
        """The share of the training that is done, in [0, 1]."""
        total = self._total_steps or self.model._total_timesteps - self._start
        done = self.num_timesteps - self._start
        return min(max(done / max(total, 1), 0.0), 1.0)

    def _on_training_start(self) -> None:
        self._has_progress = self.training_env.has_attr("set_progress")
        self._has_stats = self.training_env.has_attr("all_stats")
        if self.training_env.has_attr("shaping_gamma"):
            self._check_gamma()

    def _on_rollout_start(self) -> None:
        if self._has_progress:
            self.training_env.env_method("set_progress", self.progress)

    def _on_rollout_end(self) -> None:
        if self._has_stats:
            # Counters of the first environment: the others have the same settings, and asking
            # each of many processes at every rollout would cost more than it tells.
            stats = self._stats_of_first()
            for name, value in _scalars(stats, "guidance"):
                # SB3 cuts long names in its printed tables, and refuses two that are cut alike.
                cut = len(name.removeprefix("guidance/")) > _WIDEST
                self.logger.record(name, value, exclude=("stdout", "log") if cut else None)
            self._warn_of_outweighing(stats)

    def _on_step(self) -> bool:
        return True

    def _stats_of_first(self) -> Mapping[str, Any]:
        try:
            (stats,) = self.training_env.env_method("all_stats", indices=[0])
        except InvalidOptionError:
            # Sub-environments of an AsyncVectorEnv cannot be asked one by one.
            stats, *_ = self.training_env.env_method("all_stats")
        first: Mapping[str, Any] = stats
        return first

    def _check_gamma(self) -> None:
        own = getattr(self.model, "gamma", None)
        for gamma in self.training_env.env_method("shaping_gamma"):
            if None not in (gamma, own) and gamma != own:
                raise InvalidOptionError(
                    f"the rewards are shaped with gamma={gamma}, and the algorithm discounts with "
                    f"gamma={own}: give both the same, else the best policy changes"
                )

    def _warn_of_outweighing(self, stats: Mapping[str, Any]) -> None:
        gamma = getattr(self.model, "gamma", 1.0)
        for name, counters in stats.items():
            shifts = name.startswith("RewardShiftWrapper") and "judged" in counters
            if self._outweighing_said or not shifts or gamma >= 1.0:
                continue
            most, paid = counters["weight"] / (1.0 - gamma), counters["largest_return"]
            if counters["episodes"] >= _EPISODES_TO_COMPARE and most > paid:
                self._outweighing_said = True
                warnings.warn(
                    f"judgements can add up to scale / (1 - gamma) = {most:.4g}, and no episode "
                    f"has paid more than {paid:.4g}: the agent may live off approval. Lower the "
                    'scale, let it decay with schedule=..., or try only="negative" or '
                    'mode="potential"',
                    GuidanceWarning,
                    stacklevel=2,
                )


def _check_whole(name: str, value: Any, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidOptionError(f"{name} must be a whole number >= {least}, got {value!r}")


def _scalars(stats: Mapping[str, Any], prefix: str) -> list[tuple[str, float]]:
    found = []
    for key, value in stats.items():
        name = f"{prefix}/{key.replace(' ', '_')}"
        if isinstance(value, Mapping):
            found += _scalars(value, name)
        elif isinstance(value, int | float):
            found.append((name, float(value)))
    return found
