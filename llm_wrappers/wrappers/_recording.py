"""Writing down the episodes of n sub-environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance._trees import check_space, copied, stacked
from llm_wrappers.guidance.trajectory import Trajectory
from llm_wrappers.guidance.trajectory_files import TrajectoryFiles, append_trajectory, make_folder
from llm_wrappers.wrappers._transitions import TransitionCaptions

__all__ = ["Recording", "env_id_of"]


@dataclass
class _Episode:
    """An episode that is being played."""

    number: int
    seed: int | None
    observations: list[Any]
    actions: list[Any] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    facts: list[Facts] = field(default_factory=list)


class Recording:
    """Takes in steps and keeps finished episodes; shared by both recorders.

    Args:
        n: The number of sub-environments.
        observation_space: The space of one observation.
        action_space: The space of one action.
        captioner: Makes captions of facts; None for none.
        folder: Where episodes are saved; None keeps them in memory.
        every: Each k-th episode that begins is recorded.
        max_episodes: How many are recorded at most; None for all.
        metadata: Goes into each trajectory, with `env_id` and `episode`.
        env_id: The name of the environment, "" if it is not known.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        IncompatibleEnvironmentError: If a space has parts that cannot be recorded.
        GuidanceFileError: If the folder cannot be made.
    """

    def __init__(
        self,
        n: int,
        *,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        captioner: Captioner | None,
        folder: str | Path | None,
        every: int,
        max_episodes: int | None,
        metadata: Mapping[str, Any] | None,
        env_id: str,
    ) -> None:
        check_space(observation_space, "observations")
        check_space(action_space, "actions")
        _require_positive("every", every)
        if max_episodes is not None:
            _require_positive("max_episodes", max_episodes)
        self.captioner = captioner
        self._spaces = (observation_space, action_space)
        self._every = every
        self._most = max_episodes
        self._metadata = {"env_id": env_id, **_checked_metadata(metadata)}
        self._folder = None if folder is None else make_folder(folder)
        self._says = None if captioner is None else TransitionCaptions(captioner)
        self._open: list[_Episode | None] = [None] * n
        self._kept: list[Trajectory] = []
        self._paths: list[Path] = []
        self._counts = {"episodes": 0, "recorded": 0, "abandoned": 0, "steps": 0}

    def is_open(self, row: int) -> bool:
        """Return whether a sub-environment is in an episode that is recorded."""
        return self._open[row] is not None

    def begin(self, row: int, observation: Any, seed: int | None) -> bool:
        """Begin an episode and return whether it is recorded; one that was running is given up.

        Args:
            row: Which sub-environment.
            observation: Its first observation.
            seed: The seed of the reset, if it had one.
        """
        if self._open[row] is not None:
            self._open[row] = None
            self._counts["abandoned"] += 1
        number = self._counts["episodes"]
        self._counts["episodes"] += 1
        if self._has_room() and number % self._every == 0:
            self._open[row] = _Episode(number, seed, [copied(observation)])
        return self.is_open(row)

    def describe(self, row: int, facts: Facts) -> None:
        """Take in the facts of the first state of an episode that is recorded."""
        episode = self._open[row]
        assert episode is not None
        episode.facts.append(dict(facts))

    def add(
        self,
        row: int,
        action: Any,
        reward: float,
        observation: Any,
        facts: Facts | None,
        *,
        terminated: bool,
        truncated: bool,
    ) -> None:
        """Take in a step of an episode that is recorded; where it ended, keep the trajectory.

        Args:
            row: Which sub-environment.
            action: What was executed; copied before.
            reward: What the environment paid.
            observation: The state after the step.
            facts: The facts of it; None without a captioner.
            terminated: Whether it ended the task.
            truncated: Whether it was cut off.

        Raises:
            GuidanceFileError: If the trajectory cannot be saved.
        """
        episode = self._open[row]
        assert episode is not None
        episode.actions.append(action)
        episode.rewards.append(float(reward))
        episode.observations.append(copied(observation))
        if facts is not None:
            episode.facts.append(dict(facts))
        self._counts["steps"] += 1
        if terminated or truncated:
            # Closed first, so that an interrupt while it is saved leaves nothing half open.
            self._open[row] = None
            self._keep(self._trajectory(episode, terminated, truncated))

    def trajectories(self) -> Sequence[Trajectory]:
        """Return what was recorded since construction; from a folder it is read when looked at."""
        if self._folder is None:
            return list(self._kept)
        return TrajectoryFiles(self._paths)

    def stats(self) -> dict[str, Any]:
        """Return how many episodes began, were recorded and given up, and steps taken in."""
        return dict(self._counts)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters, for checkpoints."""
        return {"counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counters; what is running is given up."""
        self._open = [None] * len(self._open)
        self._counts.update(state["counts"])

    def _has_room(self) -> bool:
        # Running ones count, or with several sub-environments the shortest would be recorded.
        running = sum(episode is not None for episode in self._open)
        return self._most is None or self._counts["recorded"] + running < self._most

    def _keep(self, trajectory: Trajectory) -> None:
        if self._folder is None:
            self._kept.append(trajectory)
        else:
            self._paths.append(append_trajectory(trajectory, self._folder))
        self._counts["recorded"] += 1

    def _trajectory(self, episode: _Episode, terminated: bool, truncated: bool) -> Trajectory:
        observation_space, action_space = self._spaces
        captions = said = facts = None
        if self.captioner is not None and self._says is not None:
            facts = episode.facts
            captions = self.captioner.state_captions(facts)
            rows = range(len(episode.actions))
            said = self._says.of(facts[:-1], episode.actions, facts[1:], rows)
        return Trajectory(
            observations=stacked(observation_space, episode.observations),
            actions=stacked(action_space, episode.actions),
            rewards=episode.rewards,
            terminated=terminated,
            truncated=truncated,
            captions=captions,
            transition_captions=said,
            facts=facts,
            seed=episode.seed,
            metadata={**self._metadata, "episode": episode.number},
        )


def env_id_of(env: Any) -> str:
    """Return the id under which an environment, or the first of several, is registered, or ""."""
    base = env.unwrapped
    spec = getattr(base, "spec", None)
    if spec is None and isinstance(base, gym.vector.SyncVectorEnv):
        spec = base.envs[0].unwrapped.spec
    return "" if spec is None else str(spec.id)


def _require_positive(name: str, value: Any) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        raise InvalidOptionError(f"{name} must be a whole number >= 1, got {value!r}")


def _checked_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise InvalidOptionError(f"metadata must be a dict, got {metadata!r}")
    taken = sorted({"env_id", "episode"} & metadata.keys())
    if taken:
        raise InvalidOptionError(
            f"metadata must not have {taken}, which the recorder writes; use other names"
        )
    # Whatever JSON cannot hold should be known now, and not when the first episode ends.
    Trajectory(np.zeros(2), np.zeros(1), [0.0], True, False, metadata=metadata)
    return dict(metadata)
