"""Which goals were active over training."""

from __future__ import annotations

import json
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

__all__ = ["GoalHistoryCallback"]


class GoalHistoryCallback(BaseCallback):
    """Writes how many steps each goal was active, rollout by rollout, to a JSON file.

    Args:
        path: The file: ``{"env_steps": [...], "goals": {goal: [steps in each rollout]}}``.
        verbose: As in Stable-Baselines3.
    """

    def __init__(self, path: str | Path, *, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._path = Path(path)
        self._env_steps: list[int] = []
        self._goals: dict[str, list[int]] = {}
        self._before: dict[str, int] = {}

    def _on_rollout_end(self) -> None:
        (stats,) = self.training_env.env_method("all_stats", indices=[0])
        steps = stats["GoalObservationWrapper"]["goal_steps"]
        self._env_steps.append(self.num_timesteps)
        for goal, count in steps.items():
            self._goals.setdefault(goal, []).append(count - self._before.get(goal, 0))
        self._before = dict(steps)
        content = {"env_steps": self._env_steps, "goals": self._goals}
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self._path)  # a crash leaves the file of the rollout before

    def _on_step(self) -> bool:
        return True
