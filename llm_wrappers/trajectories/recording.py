"""Writing down the episodes of n sub-environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.parts import Tally
from llm_wrappers.trajectories.files import TrajectoryFiles, append_trajectory, make_folder
from llm_wrappers.trajectories.trajectory import Trajectory, copied, stacked

__all__ = ["Recording"]

Facts: TypeAlias = "Mapping[str, Any]"
Say: TypeAlias = "Callable[[Sequence[Facts], Sequence[Any]], tuple[list[str], list[str]]]"


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
    """Takes in steps and keeps finished episodes, as a part.

    Args:
        n: The number of sub-environments.
        spaces: Of one observation and of one action.
        say: From the facts of the states of an episode, and its actions, to one caption for each
            state and one for each action; None for no captions.
        folder: Where episodes are saved; None keeps them in memory.
        every: Each k-th episode that begins is recorded.
        max_episodes: How many are recorded at most; None for all.
        metadata: Goes into each trajectory, with `env_id` and `episode`.
        env_id: The name of the environment, "" if it is not known.

    Raises:
        GuidanceFileError: If the folder cannot be made.
    """

    def __init__(
        self,
        n: int,
        *,
        spaces: tuple[gym.Space[Any], gym.Space[Any]],
        say: Say | None,
        folder: str | Path | None,
        every: int,
        max_episodes: int | None,
        metadata: Mapping[str, Any],
        env_id: str,
    ) -> None:
        self._spaces = spaces
        self._say = say
        self._every = every
        self._most = max_episodes
        self._metadata = {"env_id": env_id, **metadata}
        self._folder = None if folder is None else make_folder(folder)
        self._open: list[_Episode | None] = [None] * n
        self._kept: list[Trajectory] = []
        self._paths: list[Path] = []
        self._counts = Tally("episodes", "recorded", "abandoned", "steps")

    def open_rows(self, rows: NDArray[np.intp]) -> list[int]:
        """Return which of some sub-environments are in an episode that is recorded."""
        episodes = self._open
        return [row for row in rows.tolist() if episodes[row] is not None]

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
        return self._open[row] is not None

    def describe(self, row: int, facts: Sequence[Facts] | None) -> None:
        """Take in the facts, of all n, of the first state of an episode that is recorded."""
        episode = self._open[row]
        assert episode is not None
        if facts is not None:
            episode.facts.append(dict(facts[row]))

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
            action: What was executed.
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
        episode.actions.append(copied(action))
        episode.rewards.append(reward)
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
        return self._counts.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counters; what is running is given up."""
        self._counts.load_state_dict(state)
        self._open = [None] * len(self._open)

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
        if self._say is not None:
            facts = episode.facts
            captions, said = self._say(facts, episode.actions)
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
