"""What the environment itself paid in the recent episodes, whatever wrappers made of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

__all__ = ["ExtrinsicReturns"]

_KEY = "extrinsic_reward"


class ExtrinsicReturns:
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
            if _KEY in info:
                self._running[index] += float(info[_KEY])
            else:
                self._is_whole[index] = False
            if done:
                if self._is_whole[index]:
                    self._recent.append(float(self._running[index]))
                self._running[index], self._is_whole[index] = 0.0, True

    def end(self, model: BaseAlgorithm) -> None:
        """Note where a training ended, to know whether another goes on from there."""
        self._last_observation = model._last_obs
