"""The driver for single environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.wrappers._core import Core, Start, Step, reset_needed
from llm_wrappers.wrappers._layer import Layer, depth_of, make_stream

__all__ = ["Guided"]

_ROW = np.array([0])
_FLAGS = {flag: np.array([flag]) for flag in (False, True)}
for _flag in _FLAGS.values():
    _flag.flags.writeable = False
_NUMBERS = (int, float, np.number, np.bool_)


class Guided(Layer, gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """An environment around a core of one row."""

    def _guide(self, env: Any, make: Callable[..., Core], **options: Any) -> None:
        """Build the layer: the constructor of every public wrapper.

        Args:
            env: The environment.
            make: Makes the core, of a `Place` and the options.
            options: The options, as the caller gave them; they are recorded in the spec.

        Raises:
            InvalidOptionError: If it is no environment.
        """
        if not isinstance(env, gym.Env):
            twin = f"; for many use llm_wrappers.wrappers.vector.{type(self).__name__}"
            many = isinstance(env, gym.vector.VectorEnv)
            raise InvalidOptionError(
                f"env must be a gymnasium.Env, got {type(env).__name__}{twin if many else ''}"
            )
        self.core = make(self._stand(env, 1), **options)
        RecordConstructorArgs.__init__(self, **options)
        gym.Wrapper.__init__(self, env)
        if self.core.space is not None:
            self.observation_space = self.core.space
        self._depth = depth_of(env, type(self).__name__)
        self._streams = [make_stream(None, type(self).__name__, self._depth)]
        self._is_running = False
        kind = type(self.core)
        # Many a method does only one of these, and a call of nothing is a call all the same.
        self._acts, self._pays = kind.act is not Core.act, kind.pay is not Core.pay
        self._shows = kind.show is not Core.show
        # Filled anew at each step: what a step did is looked at while it is taken, and not kept.
        self._step = Step()
        self._step.rows = _ROW
        self._step.rewards = np.zeros(1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and begin an episode."""
        self._look_at_ends(cut_off=self._is_running, ended=False)
        self._is_running = False
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._streams = [make_stream(seed, type(self).__name__, self._depth)]
        if self._is_innermost:
            self.world.paid[0] = 0.0
            self.world.show(observation, info)
        if self._masks_of_others:
            self._close_by_others()
        self._was_reset = True
        self.core.begin(Start(_ROW, self._streams, observation, [seed]))
        return self.core.show(observation, 0), self._informed(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step.

        Raises:
            InvalidOptionError: If the action is not of the action space, where a layer looks at it.
            IncompatibleEnvironmentError: If the environment pays something that is no number.
            ResetNeeded: If no episode has begun.
        """
        core, world, step = self.core, self.world, self._step
        if not self._was_reset:
            raise reset_needed()
        # An environment may change the action it is given.
        actions = [action.copy() if isinstance(action, np.ndarray) else action]
        passed = core.act(actions, _ROW, self._streams) if self._acts else actions
        if self._is_innermost:
            world.executed = passed
        given = action
        if passed is not actions:
            given = passed[0].copy() if isinstance(passed[0], np.ndarray) else passed[0]
        observation, reward, terminated, truncated, info = self.env.step(given)
        terminated, truncated = bool(terminated), bool(truncated)
        if not isinstance(reward, _NUMBERS):
            reward = _number(reward, self.env)
        paid = float(reward)
        if self._is_innermost:
            world.paid[0] = paid
            world.show(observation, info)
        if self._masks_of_others:
            self._close_by_others()
        over = terminated or truncated
        if self._untold >= 0:
            self._untold += 1
        step.actions, step.streams = actions, self._streams
        step.executed = world.executed if self._same_actions else passed
        step.spoken = world.executed
        step.rewards[0], step.paid = paid, world.paid
        step.terminated, step.truncated = _FLAGS[terminated], _FLAGS[truncated]
        step.ended, step.any_ended = _FLAGS[over], over
        step.observations, step.infos = observation, info
        core.step(step)
        if self._pays:
            rewards = core.pay(step.rewards)
            if rewards is not None:
                reward = float(rewards[0])
        informed = self._informed(info)
        self._is_running = not over
        if over:
            self._look_at_ends(cut_off=False, ended=True)
        shown = core.show(observation, 0) if self._shows else observation
        return shown, reward, terminated, truncated, informed

    def _informed(self, info: Mapping[str, Any]) -> Any:
        if self.core.is_silent:
            return info
        informed = {**info, "extrinsic_reward": float(self.world.paid[0])}
        for name, column in self.core.told.items():
            value = column[0]
            if isinstance(value, np.generic):
                value = value.item()
            elif isinstance(value, np.ndarray):
                value = value.copy()
            informed[name] = value
        return informed


def _number(reward: Any, env: Any) -> float:
    """Return a reward as a number, from whatever holds one: 0-d and (1,) arrays, tensors."""
    try:
        # Arrays and tensors of any library have it, and it refuses all but one number.
        item = getattr(reward, "item", None)
        return float(reward if item is None else item())
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise IncompatibleEnvironmentError(
            f"expected a number as the reward of {env}, got {reward!r}; return a float from step()"
        ) from None
