"""Which sub-environments have reached a critical state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from llm_wrappers.guidance.critical.table import CriticalStates, NoHits, resolve_critical_states

__all__ = ["CriticalRows"]


class CriticalRows:
    """Looks up what the steps of a `VecEnv` led to in a table of critical states.

    Warns once if none was met in 1,000 steps: nothing is paid then.

    Args:
        critical_states: The table, or its name.
        venv: The environments that it is for.

    Raises:
        UnknownNameError: If the name is not known.
        GuidanceFileError: If the file is missing or holds no table.
        IncompatibleEnvironmentError: If the states are not of these observations.
        InvalidOptionError: If it is no table, or an action of it is not of the action space.
    """

    def __init__(self, critical_states: str | CriticalStates, venv: VecEnv) -> None:
        table = resolve_critical_states(critical_states)
        self._table = table.bind(venv.observation_space, venv.action_space)
        self._counts = NoHits("steps", "hits")

    def rows(
        self, observations: Any, dones: NDArray[np.bool_], infos: Sequence[Mapping[str, Any]]
    ) -> NDArray[np.bool_]:
        """Return where a step led to a critical state; of an ended episode the last one counts."""
        found = self._table.match(observations) >= 0
        for row in np.flatnonzero(dones).tolist():
            last = _batch_of_one(infos[row]["terminal_observation"])
            found[row] = self._table.match(last)[0] >= 0
        self._count(found)
        return found

    def _count(self, found: NDArray[np.bool_]) -> None:
        self._counts["steps"] += len(found)
        self._counts["hits"] += int(found.sum())
        if len(self._table):
            self._counts.say_if_none(self._table.key)


def _batch_of_one(observation: Any) -> Any:
    if isinstance(observation, Mapping):
        return {key: np.asarray(part)[None] for key, part in observation.items()}
    return np.asarray(observation)[None]
