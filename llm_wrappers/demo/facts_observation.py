"""The facts that a planner reads, shown to a policy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llm_wrappers.captions.batches import final_observations, take_rows
from llm_wrappers.captions.facts_table import FactsTable
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import IncompatibleEnvironmentError

__all__ = ["FactsObservation"]


class FactsObservation(gym.vector.VectorWrapper):  # generic only from gymnasium 1.4
    """Shows each sub-environment's facts to the policy, and no goal: what does the text alone give?

    The observation becomes ``{"obs": ..., "facts": ...}``; each fact is one number in [0, 1], or
    one for each of its flags. The environment is reset once here, because only its infos tell which
    facts there are.

    Args:
        envs: A vector environment with a captioner whose facts are a `FactsTable`, with autoreset
            in the same step.
        names: The facts to show.

    Raises:
        IncompatibleEnvironmentError: If the environment is not like that, or lacks a fact.
    """

    def __init__(self, envs: gym.vector.VectorEnv[Any, Any, Any], names: Collection[str]) -> None:
        super().__init__(envs)
        if envs.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP:
            raise IncompatibleEnvironmentError(
                "facts can be shown with autoreset in the same step only, got "
                f"{envs.metadata.get('autoreset_mode')}"
            )
        self._captioner = resolve_captioner(envs)
        table = self._captioner.facts(*envs.reset())
        if not isinstance(table, FactsTable):
            raise IncompatibleEnvironmentError(
                f"expected a captioner that gives a FactsTable, got a {type(table).__name__}"
            )
        self._columns, self._highest = _positions(table, names)
        space = gym.spaces.Box(0.0, 1.0, self._highest.shape, np.float32)
        parts = {"obs": envs.single_observation_space, "facts": space}
        self.single_observation_space = gym.spaces.Dict(parts)
        self.observation_space = batch_space(self.single_observation_space, envs.num_envs)

    def reset(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reset all sub-environments."""
        observations, infos = self.env.reset(**options)
        return self._joined(observations, infos), infos

    def step(self, actions: Any) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]:
        """Step all sub-environments."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        rows = np.flatnonzero(terminated | truncated)
        if rows.size:
            infos = {**infos, "final_obs": self._final(infos, rows)}
        return self._joined(observations, infos), rewards, terminated, truncated, infos

    def _final(self, infos: Mapping[str, Any], rows: NDArray[np.intp]) -> NDArray[np.object_]:
        last = final_observations(infos, self.env.single_observation_space, rows)
        vectors = self._vectors(last, take_rows(infos["final_info"], rows))
        final = np.full(self.num_envs, None, dtype=object)
        for row, observation, vector in zip(rows, last, vectors, strict=True):
            final[row] = {"obs": observation, "facts": vector}
        return final

    def _joined(self, observations: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
        return {"obs": observations, "facts": self._vectors(observations, infos)}

    def _vectors(self, observations: Any, infos: Mapping[str, Any]) -> NDArray[np.float32]:
        table = self._captioner.facts(observations, infos)
        assert isinstance(table, FactsTable)
        return np.divide(table.matrix[:, self._columns], self._highest, dtype=np.float32)


def _positions(
    table: FactsTable, names: Collection[str]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return which matrix columns are shown, and the highest number that each can hold."""
    there = {column.name for column in table.columns}
    if not set(names) <= there:
        raise IncompatibleEnvironmentError(
            f"facts must be among {sorted(there)}, got {sorted(set(names) - there)}"
        )
    owners = [column for column in table.columns for _ in range(column.width)]
    shown = [position for position, column in enumerate(owners) if column.name in names]
    highest = [1 if owners[i].flags else len(owners[i].values) - 1 for i in shown]
    return np.array(shown), np.array(highest, dtype=np.float32)
