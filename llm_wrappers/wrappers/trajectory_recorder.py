"""Recording what happens in each episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from llm_wrappers.captions.captioner import Captioner, Facts, batch_infos
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.guidance._trees import copied
from llm_wrappers.guidance.trajectory import Trajectory
from llm_wrappers.wrappers._goals_below import gathered_stats
from llm_wrappers.wrappers._recording import Recording, env_id_of
from llm_wrappers.wrappers.goal_observation import batch_of_one

__all__ = ["TrajectoryRecorder"]


class TrajectoryRecorder(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Records episodes: observations, actions, rewards, and what they mean in words.

    ULTRA (arXiv 2505.20671) shows such a history of a policy to a language model, which says where
    it went wrong. Nothing that passes through is changed.

    Put it directly on the environment, where it sees the actions that are executed and the rewards
    that are paid. Further out it records what passes there, except that it takes the reward from
    ``info["extrinsic_reward"]`` and the action from ``info["executed_action"]`` where a layer
    below tells them.

    An episode is kept when it ends. With a folder it is then on disk, whole: a process that is
    killed loses the episode that is running, and no other. An episode that is reset before its end
    is given up and counted.

    A vector version exists: `llm_wrappers.wrappers.vector.TrajectoryRecorder`.

    Args:
        env: The environment.
        folder: Where to save, one file per episode; those that are there stay. None keeps the
            trajectories in memory.
        captions: Whether facts, state captions and transition captions are recorded. Captions are
            written when an episode ends.
        captioner: Makes them; None for the environment's own, or a generic one.
        every: Record each k-th episode that begins, the first one included.
        max_episodes: Record so many at most; None for no limit.
        metadata: Anything that JSON can hold; goes into each trajectory.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        IncompatibleEnvironmentError: If a space has parts that cannot be recorded, or observations
            cannot be put into words: use ``captions=False`` then.
        GuidanceFileError: If the folder cannot be made; in `step`, if an episode cannot be saved.

    >>> import gymnasium as gym
    >>> env = TrajectoryRecorder(gym.make("CartPole-v1", max_episode_steps=2))
    >>> observation, info = env.reset(seed=0)
    >>> for action in (1, 0):
    ...     observation, reward, terminated, truncated, info = env.step(action)
    >>> (trajectory,) = env.trajectories()
    >>> trajectory.actions.tolist(), trajectory.rewards.tolist(), trajectory.truncated
    ([1, 0], [1.0, 1.0], True)
    >>> trajectory.transition_captions[0]
    'push right: cart velocity went from 0.02 m/s left to 0.17 m/s right, ...'
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        *,
        folder: str | Path | None = None,
        captions: bool = True,
        captioner: Captioner | None = None,
        every: int = 1,
        max_episodes: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self._recording = Recording(
            1,
            observation_space=env.observation_space,
            action_space=env.action_space,
            captioner=resolve_captioner(env, captioner) if captions else None,
            folder=folder,
            every=every,
            max_episodes=max_episodes,
            metadata=metadata,
            env_id=env_id_of(env),
        )
        RecordConstructorArgs.__init__(
            self,
            folder=None if folder is None else str(folder),
            captions=captions,
            captioner=captioner,
            every=every,
            max_episodes=max_episodes,
            metadata=metadata,
        )
        gym.Wrapper.__init__(self, env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        if self._recording.begin(0, observation, seed):
            facts = self._facts(observation, info)
            if facts is not None:
                self._recording.describe(0, facts)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment and write the step down."""
        if not self._recording.is_open(0):
            return self.env.step(action)
        # Before the step, because an environment may change the action it is given.
        given = copied(action)
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._recording.add(
            0,
            copied(info.get("executed_action", given)),
            info.get("extrinsic_reward", reward),
            observation,
            self._facts(observation, info),
            terminated=bool(terminated),
            truncated=bool(truncated),
        )
        return observation, reward, terminated, truncated, info

    def trajectories(self) -> Sequence[Trajectory]:
        """Return what was recorded since construction; files are read when they are looked at."""
        return self._recording.trajectories()

    def stats(self) -> dict[str, Any]:
        """Return how many episodes began, were recorded and given up, and the steps recorded."""
        return self._recording.stats()

    def all_stats(self) -> dict[str, dict[str, Any]]:
        """Return the counters of this wrapper and of those below, by class name."""
        return gathered_stats(self)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters, for checkpoints; `every` and `max_episodes` go on from them."""
        return self._recording.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counters."""
        self._recording.load_state_dict(state)

    def _facts(self, observation: Any, info: Mapping[str, Any]) -> Facts | None:
        if self._recording.captioner is None:
            return None
        batch = batch_of_one(self.env.observation_space, observation)
        return self._recording.captioner.facts(batch, batch_infos(info))[0]
