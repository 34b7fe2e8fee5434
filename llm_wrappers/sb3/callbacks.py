"""Driving schedules, logging guidance and saving its state during training."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EveryNTimesteps

from llm_wrappers.checks import flag, whole
from llm_wrappers.errors import GuidanceWarning, InvalidOptionError
from llm_wrappers.sb3._routing import AnyEnv, ask, is_any_env, tell_if_known
from llm_wrappers.wrappers import save_guidance

__all__ = ["GuidanceCallback", "GuidanceCheckpointCallback", "set_progress_of"]

_EPISODES_TO_COMPARE = 20
_WIDEST = 33
_EXTRINSIC = "extrinsic_reward"


class GuidanceCallback(BaseCallback):
    """Sets the training progress in every wrapper that has a schedule, and logs what guidance did.

    The progress is the share of the whole training that is done, across all sub-environments. The
    training environment and those in `also` hear it before each rollout; the environment of each
    `EvalCallback`, `MaskableEvalCallback` or other callback with an `eval_env` in the same call of
    ``learn`` hears it before each evaluation, in whatever order the callbacks stand. At the end all
    hear what was reached: 1.0 after a full training. The model keeps it as its attribute
    ``guidance_progress``, which is saved with the model; `set_progress_of` puts it into another
    environment.

    With ``reset_num_timesteps=False`` it goes on from the steps done before, unless `start` says
    where it begins.

    The counters of the wrappers are logged as ``guidance/<wrapper>/<counter>``, and the mean over
    the recent episodes of what the environment itself paid as ``rollout/ep_extrinsic_rew_mean``,
    beside SB3's ``rollout/ep_rew_mean``. Layers in which most steps had no guidance are warned of
    at the end.

    Two mistakes with shifted rewards are said here, because only here the discount is known:
    shaping with another discount than the algorithm's raises, and shifts that could add up to more
    than any episode has paid so far are warned of, once, after 20 episodes (our choice).

    Args:
        total_steps: The steps over which the schedules run from 0 to 1; None for those of this
            call of ``learn``.
        start: The algorithm's `num_timesteps` at which they are 0: give ``model.num_timesteps``
            where a trained model is guided from now on.
        also: Further environments that hear the progress, of SB3 or of Gymnasium, single or vector.
        evaluation_training: What `set_training` is given at the start in the environments of
            evaluation callbacks and in `also`; None leaves them as they were built, so that rewards
            that are shifted in training are shifted in evaluation too.
        verbose: As in Stable-Baselines3.

    Raises:
        InvalidOptionError: If `total_steps` is not a positive whole number, `start` none from 0, or
            `also` no list of environments; at the start of the training, if a potential assumes
            another discount than the algorithm has.

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
    >>> env.stats()["xi"], model.guidance_progress
    (0.0, 1.0)
    """

    def __init__(
        self,
        *,
        total_steps: int | None = None,
        start: int = 0,
        also: Sequence[AnyEnv] = (),
        evaluation_training: bool | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        self._total_steps = whole("total_steps", total_steps, least=1, or_none="for those of learn")
        self._start = whole("start", start, least=0)
        if not isinstance(also, list | tuple) or not all(map(is_any_env, also)):
            raise InvalidOptionError(
                f"also must be a list of environments, such as [evaluation_env], got {also!r}"
            )
        if evaluation_training is not None:
            flag("evaluation_training", evaluation_training)
        self._also = tuple(also)
        self._evaluation_training = evaluation_training
        self._evaluations: list[_Evaluation] = []
        self._extrinsic = _ExtrinsicReturns()
        self._outweighing_said = False

    @property
    def progress(self) -> float:
        """The share of the training that is done, in [0, 1]."""
        total: int = self._total_steps or self.model._total_timesteps - self._start
        done: int = self.model.num_timesteps - self._start
        return min(max(done / max(total, 1), 0.0), 1.0)

    def update_locals(self, locals_: dict[str, Any]) -> None:
        """Keep the progress where it is read in this step; all callbacks are called after this."""
        super().update_locals(locals_)
        self._remember_progress()
        self._tell([evaluation.env for evaluation in self._evaluations if evaluation.is_due()])

    def _on_training_start(self) -> None:
        self._has_progress = self.training_env.has_attr("set_progress")
        self._has_stats = self.training_env.has_attr("all_stats")
        if self.training_env.has_attr("shaping_gamma"):
            self._check_gamma()
        self._extrinsic.begin(self.model)
        self._evaluations = _evaluations_among(self.locals.get("callback"))
        self._remember_progress()
        aside = [*self._also, *(evaluation.env for evaluation in self._evaluations)]
        self._tell(aside)
        if self._evaluation_training is not None:
            for env in aside:
                tell_if_known(env, "set_training", self._evaluation_training)

    def _on_rollout_start(self) -> None:
        # Asked for once: rollouts of off-policy algorithms may be of a single step.
        if self._has_progress:
            self.training_env.env_method("set_progress", self.progress)
        self._tell(self._also)

    def _on_step(self) -> bool:
        infos, dones = self.locals.get("infos"), self.locals.get("dones")
        if infos is not None and dones is not None:
            self._extrinsic.add(infos, dones)
        return True

    def _on_rollout_end(self) -> None:
        if self._extrinsic.mean is not None:
            self.logger.record("rollout/ep_extrinsic_rew_mean", self._extrinsic.mean)
        if self._has_stats:
            # Counters of the first environment: the others have the same settings, and asking
            # each of many processes at every rollout would cost more than it tells.
            stats = ask(self.training_env, "all_stats")
            for name, value in _scalars(stats, "guidance"):
                # SB3 cuts long names in its printed tables, and refuses two that are cut alike.
                cut = len(name.removeprefix("guidance/")) > _WIDEST
                self.logger.record(name, value, exclude=("stdout", "log") if cut else None)
            self._warn_of_outweighing(stats)

    def _on_training_end(self) -> None:
        self._remember_progress()
        evaluated = [evaluation.env for evaluation in self._evaluations]
        self._tell([self.training_env, *self._also, *evaluated])
        self._extrinsic.end(self.model)
        if self.training_env.has_attr("unguided"):
            for sentence in ask(self.training_env, "unguided"):
                warnings.warn(sentence, GuidanceWarning, stacklevel=2)

    def _remember_progress(self) -> None:
        model: Any = self.model
        model.guidance_progress = self.progress

    def _tell(self, envs: Sequence[AnyEnv]) -> None:
        for env in envs:
            tell_if_known(env, "set_progress", self.progress)

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
            if not counters.get("good", 0) + counters.get("bad", 0):
                continue  # nothing was ever shifted
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


def set_progress_of(model: BaseAlgorithm, env: AnyEnv) -> float:
    """Set the progress in an environment to what a model was trained at, and return it.

    A policy that learned while schedules ran is to be played at the progress that it was saved at:
    a new environment is at 0, where a mask that was to fade away is in full force. An environment
    without guidance is left alone.

    Args:
        model: Trained with `GuidanceCallback`, also one that was saved and loaded.
        env: Of SB3 or of Gymnasium, single or vector.

    Raises:
        InvalidOptionError: If the model was not trained with `GuidanceCallback`, or `env` is no
            environment.

    >>> import gymnasium as gym
    >>> from stable_baselines3 import PPO
    >>> from llm_wrappers import RewardShiftWrapper
    >>> env = RewardShiftWrapper(gym.make("CartPole-v1"), judge="reference")
    >>> model = PPO("MlpPolicy", env, n_steps=64, batch_size=64, device="cpu")
    >>> model = model.learn(64, callback=GuidanceCallback())
    >>> set_progress_of(model, RewardShiftWrapper(gym.make("CartPole-v1"), judge="reference"))
    1.0
    """
    progress = getattr(model, "guidance_progress", None)
    if progress is None:
        raise InvalidOptionError(
            f"expected a model that was trained with GuidanceCallback, got {type(model).__name__} "
            "without guidance_progress: call set_progress of the environment yourself"
        )
    if not is_any_env(env):
        raise InvalidOptionError(f"expected an environment, got {env!r}")
    tell_if_known(env, "set_progress", progress)
    return float(progress)


class GuidanceCheckpointCallback(CheckpointCallback):
    """SB3's `CheckpointCallback`, which also saves the guidance state of the training environment.

    A model alone does not bring a run back: trust that was learned, counters and the moment of the
    schedules are in the environment. They are written beside each checkpoint of the model as
    ``<name_prefix>_guidance_<steps>_steps.json``, whole or not at all; `llm_wrappers.load_guidance`
    reads them into an environment that is wrapped in the same way. Where there is no guidance no
    such file is written.

    The arguments are those of `stable_baselines3.common.callbacks.CheckpointCallback`.

    Args:
        save_freq: After how many calls, each a step of all sub-environments, it saves.
        save_path: The folder; it is made where needed.
        name_prefix: How the names of the files begin.
        save_replay_buffer: Whether the replay buffer is saved too.
        save_vecnormalize: Whether the statistics of `VecNormalize` are saved too.
        verbose: As in Stable-Baselines3.
    """

    def _on_step(self) -> bool:
        goes_on = super()._on_step()
        if self.n_calls % self.save_freq == 0 and self.training_env.has_attr("guidance_state"):
            path = self._checkpoint_path("guidance_", extension="json")
            save_guidance(self.training_env, path)
            if self.verbose >= 2:
                print(f"Saving guidance state to {path}")
        return goes_on


class _Evaluation:
    """A callback with an `eval_env`, and what has to let a step pass before it hears of it."""

    def __init__(self, callback: Any, gates: tuple[EveryNTimesteps, ...]) -> None:
        self._callback = callback
        self._gates = gates

    @property
    def env(self) -> AnyEnv:
        """The environment that is played in, as it is now."""
        env: AnyEnv = self._callback.eval_env
        return env

    def is_due(self) -> bool:
        """Return whether it may evaluate when the callbacks hear of the step just taken."""
        for gate in self._gates:
            if gate.model.num_timesteps - gate.last_time_trigger < gate.n_steps:
                return False
        every = getattr(self._callback, "eval_freq", None)
        if not isinstance(every, int):
            return True
        # SB3 counts the call before it looks.
        return every > 0 and (self._callback.n_calls + 1) % every == 0


def _evaluations_among(callback: Any) -> list[_Evaluation]:
    """Return what evaluates among a callback and all that it holds, however deep."""
    seen: set[int] = set()

    def found(value: Any, gates: tuple[EveryNTimesteps, ...]) -> Iterator[_Evaluation]:
        if isinstance(value, list | tuple):
            for item in value:
                yield from found(item, gates)
        elif isinstance(value, BaseCallback) and id(value) not in seen:
            seen.add(id(value))
            if is_any_env(getattr(value, "eval_env", None)):
                yield _Evaluation(value, gates)
            if isinstance(value, EveryNTimesteps):
                gates = (*gates, value)
            for name, held in vars(value).items():
                # A parent of ours may be no part of this training.
                if name != "parent":
                    yield from found(held, gates)

    return list(found(callback, ()))


class _ExtrinsicReturns:
    """Sums ``info["extrinsic_reward"]`` over episodes, as long as each of their steps has it."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self._running = np.zeros(0)
        self._is_whole = np.zeros(0, np.bool_)
        self._last_observation: Any = None

    @property
    def mean(self) -> float | None:
        """The mean over the recent episodes; None if there are none."""
        return float(np.mean(self._recent)) if self._recent else None

    def begin(self, model: BaseAlgorithm) -> None:
        """Begin a training: episodes that go on are gone on with, where they were followed."""
        assert model.env is not None
        if model.num_timesteps == 0:
            self._recent.clear()
        self._recent = deque(self._recent, maxlen=model._stats_window_size)
        # A reset would have brought another observation.
        is_followed = model._last_obs is self._last_observation
        if not is_followed or len(self._running) != model.env.num_envs:
            self._running = np.zeros(model.env.num_envs)
            # Where training goes on, the beginning of the episode was missed.
            self._is_whole = np.full(model.env.num_envs, model.num_timesteps == 0)

    def add(self, infos: Sequence[Mapping[str, Any]], dones: Sequence[bool]) -> None:
        """Take in a step of each sub-environment."""
        for index, (info, done) in enumerate(zip(infos, dones, strict=True)):
            if _EXTRINSIC in info:
                self._running[index] += float(info[_EXTRINSIC])
            else:
                self._is_whole[index] = False
            if done:
                if self._is_whole[index]:
                    self._recent.append(float(self._running[index]))
                self._running[index], self._is_whole[index] = 0.0, True

    def end(self, model: BaseAlgorithm) -> None:
        """Note where a training ended, to know whether another goes on from there."""
        self._last_observation = model._last_obs


def _scalars(stats: Mapping[str, Any], prefix: str) -> list[tuple[str, float]]:
    found = []
    for key, value in stats.items():
        name = f"{prefix}/{key.replace(' ', '_')}"
        if isinstance(value, Mapping):
            found += _scalars(value, name)
        elif isinstance(value, int | float):
            found.append((name, float(value)))
    return found
