"""Recording what happens in each episode of each sub-environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.guidance._trees import copied
from llm_wrappers.guidance.trajectory import Trajectory
from llm_wrappers.wrappers._goals_below import gathered_stats
from llm_wrappers.wrappers._recording import Recording, env_id_of
from llm_wrappers.wrappers._streams import depth_of
from llm_wrappers.wrappers._transitions import listed_actions, with_rows
from llm_wrappers.wrappers._trust_evidence import paid_by_the_environment
from llm_wrappers.wrappers.vector._episodes import Episodes, final_observations, take_rows

__all__ = ["TrajectoryRecorder"]


class TrajectoryRecorder(gym.vector.VectorWrapper):  # generic only from gymnasium 1.4
    """Records the episodes of each sub-environment, in the order in which they end.

    The twin of `llm_wrappers.TrajectoryRecorder`, whose documentation holds. Works in every
    autoreset mode: the last observation of an episode is its own, never the first of the next.
    With `max_episodes` the first that begin are recorded, so that short ones are not preferred.

    Args:
        env: The vector environment.
        folder: Where to save, one file per episode; None keeps the trajectories in memory.
        captions: Whether facts, state captions and transition captions are recorded.
        captioner: Makes them; None for the environment's own, or a generic one.
        every: Record each k-th episode that begins, counted over all sub-environments.
        max_episodes: Record so many at most; None for no limit.
        metadata: Anything that JSON can hold; goes into each trajectory.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        IncompatibleEnvironmentError: If a space has parts that cannot be recorded, or observations
            cannot be put into words: use ``captions=False`` then.
        GuidanceFileError: If the folder cannot be made; in `step`, if an episode cannot be saved.

    >>> import gymnasium as gym
    >>> envs = TrajectoryRecorder(
    ...     gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync", max_episode_steps=2)
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> for _ in range(2):
    ...     observations, rewards, terminated, truncated, infos = envs.step(np.array([1, 0]))
    >>> [(each.seed, each.actions.tolist()) for each in envs.trajectories()]
    [(0, [1, 1]), (1, [0, 0])]
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any],
        *,
        folder: str | Path | None = None,
        captions: bool = True,
        captioner: Captioner | None = None,
        every: int = 1,
        max_episodes: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(env)
        self._recording = Recording(
            env.num_envs,
            observation_space=env.single_observation_space,
            action_space=env.single_action_space,
            captioner=resolve_captioner(env, captioner) if captions else None,
            folder=folder,
            every=every,
            max_episodes=max_episodes,
            metadata=metadata,
            env_id=env_id_of(env),
        )
        name = type(self).__name__
        self._episodes = Episodes(env, owner=name, depth=depth_of(env, name))

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all sub-environments, or those of ``options["reset_mask"]``."""
        fresh = self._episodes.begin(seed, options)
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        rows = np.flatnonzero(fresh)
        # Nothing can be said of the others: their infos may be missing.
        facts = self._facts(take_rows(observations, rows), take_rows(infos, rows))
        seeds = _row_seeds(seed, self.num_envs)
        listed = self._listed(observations)
        for place, row in enumerate(rows.tolist()):
            self._begin(row, listed[row], None if facts is None else facts[place], seeds[row])
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all sub-environments and write the steps down."""
        # Before the step, because an environment may change the actions it is given.
        given = [copied(action) for action in listed_actions(self.env.action_space, actions)]
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        ended = np.asarray(terminated | truncated, dtype=np.bool_)
        fresh = self._episodes.advance(ended)
        recorded = [row for row in range(self.num_envs) if self._recording.is_open(row)]
        if recorded or fresh.any():
            shown = self._listed(observations)
            facts = self._facts(observations, infos)
            reached, facts_reached = self._reached(shown, facts, infos, ended)
            executed = _executed(given, infos, ended)
            paid = paid_by_the_environment(infos, rewards, ended)
            for row in recorded:
                self._recording.add(
                    row,
                    executed[row],
                    paid[row],
                    reached[row],
                    None if facts_reached is None else facts_reached[row],
                    terminated=bool(terminated[row]),
                    truncated=bool(truncated[row]),
                )
            for row in np.flatnonzero(fresh).tolist():
                self._begin(row, shown[row], None if facts is None else facts[row], None)
        return observations, rewards, terminated, truncated, infos

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

    def _begin(self, row: int, observation: Any, facts: Facts | None, seed: int | None) -> None:
        if self._recording.begin(row, observation, seed) and facts is not None:
            self._recording.describe(row, facts)

    def _listed(self, observations: Any) -> list[Any]:
        return list(iterate(self.env.observation_space, observations))

    def _facts(self, observations: Any, infos: Mapping[str, Any]) -> Sequence[Facts] | None:
        captioner = self._recording.captioner
        return None if captioner is None else captioner.facts(observations, infos)

    def _reached(
        self,
        shown: list[Any],
        facts: Sequence[Facts] | None,
        infos: Mapping[str, Any],
        ended: NDArray[np.bool_],
    ) -> tuple[list[Any], Sequence[Facts] | None]:
        """Return the states that the step led to, where it may show the next episodes already."""
        if not (self._episodes.same_step and ended.any()):
            return shown, facts
        rows = np.flatnonzero(ended)
        reached = [
            infos["final_obs"][row] if over else shown[row] for row, over in enumerate(ended)
        ]
        if facts is not None:
            last = final_observations(infos, self.env.single_observation_space, rows)
            changed = self._facts(last, take_rows(infos.get("final_info", {}), rows))
            facts = with_rows(facts, rows, changed or ())
        return reached, facts


def _executed(
    given: Sequence[Any], infos: Mapping[str, Any], ended: NDArray[np.bool_]
) -> list[Any]:
    """Return the actions that were executed, from the layer below that says so."""
    column = infos.get("executed_action", given)
    # With autoreset in the same step, the infos are of the next episode already.
    final = infos.get("final_info", {}).get("executed_action", column)
    return [copied((final if over else column)[row]) for row, over in enumerate(ended)]


def _row_seeds(seed: int | Sequence[int | None] | None, n: int) -> Sequence[int | None]:
    if seed is None:
        return [None] * n
    if isinstance(seed, int | np.integer):
        return [int(seed) + row for row in range(n)]
    return seed
