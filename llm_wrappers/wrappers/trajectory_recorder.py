"""Recording what happens in each episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.trajectories.recording import Recording
from llm_wrappers.trajectories.trajectory import Trajectory, check_space
from llm_wrappers.wrappers._core import Core, Place, Start, Step
from llm_wrappers.wrappers._guided import Guided
from llm_wrappers.wrappers._layer import Layer

__all__ = ["Recorder", "RecorderMethods", "TrajectoryRecorder"]


class Recorder(Core):
    """Writes episodes down; the options are those of `TrajectoryRecorder`."""

    is_silent = True
    needs_ends = True

    def __init__(
        self,
        place: Place,
        *,
        folder: str | Path | None,
        captions: bool,
        captioner: Captioner | None,
        every: int,
        max_episodes: int | None,
        metadata: Mapping[str, Any] | None,
    ) -> None:
        if place.action_space != place.world.action_space:
            raise IncompatibleEnvironmentError(
                "a wrapper below the recorder changes the actions that other layers of ours "
                f"execute, from {place.action_space} to {place.world.action_space}: put the "
                "recorder inside of it"
            )
        check_space(place.observation_space, "observations")
        check_space(place.action_space, "actions")
        voice = place.world.voice(captioner) if checks.flag("captions", captions) else None
        self.recording = Recording(
            place.n,
            spaces=(place.observation_space, place.action_space),
            say=None if voice is None else voice.of_episode,
            folder=folder,
            every=checks.whole("every", every, least=1),
            max_episodes=checks.whole("max_episodes", max_episodes, least=1, or_none="for all"),
            metadata=_checked_metadata(metadata),
            env_id=_env_id(place.env),
        )
        super().__init__(place, {}, parts={"recording": self.recording}, voice=voice)

    def begin(self, start: Start) -> None:
        """Begin episodes, of which some are recorded."""
        observations = self.place.listed(start.observations)
        facts: Sequence[Facts] | None = None
        for row in start.rows.tolist():
            if self.recording.begin(row, observations[row], start.seeds[row]):
                facts = self._facts(last=False) if facts is None else facts
                self.recording.describe(row, facts)

    def step(self, step: Step) -> None:
        """Write the step down where an episode is recorded."""
        rows = self.recording.open_rows(step.rows)
        if not rows:
            return
        observations = self.place.listed(step.observations)
        for row in step.over.tolist() if step.any_ended else ():
            observations[row] = step.infos["final_obs"][row]
        facts = self._facts(last=True)
        paid, terminated = step.paid.tolist(), step.terminated.tolist()
        truncated = step.truncated.tolist()
        for row in rows:
            self.recording.add(
                row,
                step.executed[row],
                paid[row],
                observations[row],
                None if facts is None else facts[row],
                terminated=terminated[row],
                truncated=truncated[row],
            )

    def _facts(self, *, last: bool) -> Sequence[Facts] | None:
        if self.voice is None:
            return None
        return self.voice.reached() if last else self.voice.shown()


def _env_id(env: Any) -> str:
    """Return the id under which an environment, or the first of several, is registered, or ""."""
    base = env.unwrapped
    spec = getattr(base, "spec", None)
    if spec is None and isinstance(base, gym.vector.SyncVectorEnv):
        spec = base.envs[0].unwrapped.spec
    return "" if spec is None else str(spec.id)


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


class RecorderMethods(Layer):
    """The options and methods of `TrajectoryRecorder`, in front of one environment or of many."""

    core: Recorder

    def __init__(
        self,
        env: Any,
        *,
        folder: str | Path | None = None,
        captions: bool = True,
        captioner: Captioner | None = None,
        every: int = 1,
        max_episodes: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self._guide(
            env, Recorder, folder=None if folder is None else str(folder), captions=captions,
            captioner=captioner, every=every, max_episodes=max_episodes, metadata=metadata,
        )  # fmt: skip

    def trajectories(self) -> Sequence[Trajectory]:
        """Return what was recorded since construction; files are read when they are looked at."""
        return self.core.recording.trajectories()


class TrajectoryRecorder(RecorderMethods, Guided):
    """Records episodes: observations, actions, rewards, and what they mean in words.

    ULTRA (arXiv 2505.20671) shows such a history of a policy to a language model, which says where
    it went wrong. Nothing that passes through is changed.

    Wherever it stands among our layers, the actions are those that were executed, the rewards those
    of the environment, and captions and facts those of the environment. The observations are those
    of the place where it stands: around a layer that adds to them it records what it adds too.

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
