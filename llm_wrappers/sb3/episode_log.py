"""Writing down each training episode, and showing progress while it goes on."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from llm_wrappers.scores import EpisodeLog

__all__ = ["EpisodeLogCallback", "ProgressBarCallback"]

_RECENT = 100


class EpisodeLogCallback(BaseCallback):
    """Appends each finished training episode to a file in the format of Crafter's recorder.

    One JSON line per episode: `length`, `reward` (of the environment itself, whatever wrappers
    made of it), `achievement_<name>` where the environment reports achievements, and `env_steps`,
    the training steps done when it ended. The means over the last 100 episodes are logged as
    ``rollout/extrinsic_return`` and ``rollout/achievements``.

    Args:
        path: The file, by convention ``stats.jsonl``.
        verbose: As in Stable-Baselines3.
    """

    def __init__(self, path: str | Path, *, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._log = EpisodeLog(path)
        self.episodes = 0
        self.recent_returns: deque[float] = deque(maxlen=_RECENT)
        self.recent_achievements: deque[int] = deque(maxlen=_RECENT)

    def _on_training_start(self) -> None:
        # A call of learn with reset_num_timesteps=False goes on in the middle of episodes.
        if self.num_timesteps == 0 or not hasattr(self, "_returns"):
            self._returns = np.zeros(self.training_env.num_envs)
            self._lengths = np.zeros(self.training_env.num_envs, dtype=np.int64)

    def _on_step(self) -> bool:
        infos, rewards = self.locals["infos"], self.locals["rewards"]
        normalizer = self.model.get_vec_normalize_env()
        if normalizer is not None:
            rewards = normalizer.get_original_reward()
        self._returns += [
            info.get("extrinsic_reward", reward)
            for info, reward in zip(infos, rewards, strict=True)
        ]
        self._lengths += 1
        for index in np.flatnonzero(self.locals["dones"]):
            self._finish(int(index), infos[index])
        return True

    def _finish(self, index: int, info: dict[str, Any]) -> None:
        achievements = info.get("achievements", {})
        self._log.append(
            length=int(self._lengths[index]),
            reward=float(self._returns[index]),
            achievements=achievements,
            env_steps=self.num_timesteps,
        )
        self.episodes += 1
        self.recent_returns.append(float(self._returns[index]))
        self.recent_achievements.append(sum(count > 0 for count in achievements.values()))
        self._returns[index] = 0.0
        self._lengths[index] = 0

    def _on_rollout_end(self) -> None:
        if self.recent_returns:
            self.logger.record("rollout/extrinsic_return", np.mean(self.recent_returns))
            self.logger.record("rollout/achievements", np.mean(self.recent_achievements))

    def _on_training_end(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, where training ended by an exception; every line is in it already."""
        self._log.close()


class ProgressBarCallback(BaseCallback):
    """A progress bar with the recent return and achievements per episode.

    Args:
        label: What stands before the bar.
        log: The callback whose recent episodes are shown; it must come first in the list.
        verbose: As in Stable-Baselines3.
    """

    def __init__(self, label: str, log: EpisodeLogCallback, *, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._label = label
        self._episodes = log

    def _on_training_start(self) -> None:
        total = self.model._total_timesteps - self.num_timesteps
        self._bar = tqdm(total=total, desc=self._label, unit=" steps", unit_scale=True)

    def _on_step(self) -> bool:
        # The last rollout can go past the total, and the bar would then vanish.
        self._bar.update(min(self.training_env.num_envs, self._bar.total - self._bar.n))
        return True

    def _on_rollout_end(self) -> None:
        if self._episodes.recent_returns:
            self._bar.set_postfix(
                {
                    "episodes": self._episodes.episodes,
                    "return": f"{np.mean(self._episodes.recent_returns):.2f}",
                    "achievements": f"{np.mean(self._episodes.recent_achievements):.2f}",
                }
            )

    def _on_training_end(self) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bar as it is; harmless if it was never shown."""
        if hasattr(self, "_bar"):
            self._bar.close()
