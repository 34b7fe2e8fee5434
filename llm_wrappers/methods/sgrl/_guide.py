"""Guidance as it leads an agent that knows nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Facts
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import GuidanceWarning, IncompatibleEnvironmentError
from llm_wrappers.guidance.artefact import GuidanceArtefact
from llm_wrappers.guidance.goals import Plan
from llm_wrappers.guidance.masks import MaskBank
from llm_wrappers.guidance.planners import Planner, PlannerFunction, Planning
from llm_wrappers.guidance.resolve import resolve_masks, resolve_planner

__all__ = ["Guidance", "Guide"]

Guidance: TypeAlias = (
    "GuidanceArtefact | str | tuple[str | Planner | PlannerFunction, str | Mapping[str, Any]]"
)


class Guide:
    """A planner with its masks, bound to the actions of an environment.

    As in `methods.sgrl.wrap`, the current goal is the one of the largest weight. A planner that
    fails leaves everything open.

    Args:
        guidance: An artefact, whose planner runs contained; a name that stands for both parts; or
            a planner and masks, each as an object or a name.
        description: Names the actions, and the goals unless they are given.
        action_space: A Discrete space.
        goals: The goal vocabulary; None for that of the description.

    Raises:
        IncompatibleEnvironmentError: If the actions are not those of a Discrete space.
        InvalidOptionError: If there are no goals, or a mask is no mask.
        UnknownNameError: If a name is not known.
        GuidanceFileError: If a file is missing, or there is no planner.
    """

    def __init__(
        self,
        guidance: Guidance,
        *,
        description: EnvDescription,
        action_space: gym.Space[Any],
        goals: Sequence[str] | None = None,
    ) -> None:
        if not isinstance(action_space, gym.spaces.Discrete):
            raise IncompatibleEnvironmentError(
                f"guided play draws one of the open actions: expected Discrete, got {action_space}"
            )
        self.goals = checks.vocabulary(description.goals if goals is None else goals)
        length = int(action_space.n)
        self._start = action_space.start
        names = description.action_names if len(description.action_names) == length else ()
        planner, masks = _parts(guidance)
        self._planner = resolve_planner(planner, env_id=description.env_id, goals=self.goals)
        self._planning = Planning(self._planner, goals=self.goals, fallback=self.goals[0])
        found = resolve_masks(
            masks,
            env_id=description.env_id,
            goals=self.goals,
            actions=names or list(range(length)),
        )
        self.bank = MaskBank(found, action_space, action_names=names)
        self._rows = self.bank.matrix(self.goals)
        self._everything = np.ones(length, dtype=np.bool_)

    def plans(self, facts: Sequence[Facts]) -> list[Plan]:
        """Return the plan of each of n states; one that stands in for a failure says so."""
        with warnings.catch_warnings():
            # Whoever plays counts the failures.
            warnings.simplefilter("ignore", GuidanceWarning)
            return self._planning.plans(facts)

    def mask(self, plan: Plan) -> NDArray[np.bool_]:
        """Return the actions that the current goal of a plan leaves open, shape (actions,)."""
        if plan.failed or not plan.goals:
            return self._everything
        row: NDArray[np.bool_] = self._rows[plan.best]
        return row

    def flat(self, actions: Sequence[Any]) -> NDArray[np.int64]:
        """Return where in a mask n actions of the space stand, shape (n,)."""
        return np.asarray(np.array(actions, dtype=np.int64) - self._start)

    def draw(self, open_: NDArray[np.bool_], generator: np.random.Generator) -> Any:
        """Return one of the open actions, as one of the space."""
        return self._start + generator.choice(np.flatnonzero(open_))

    def close(self) -> None:
        """End the process of a planner that runs contained."""
        close = getattr(self._planner, "close", None)
        if close is not None:
            close()


def _parts(guidance: Guidance) -> tuple[Any, Any]:
    if isinstance(guidance, GuidanceArtefact):
        return guidance.planner(), guidance.masks or {}
    return (guidance, guidance) if isinstance(guidance, str) else guidance
