"""The goals of n sub-environments and how they look in the observation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.embeddings import Encoder, resolve_encoder
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.planner import Planner, PlannerFunction
from llm_wrappers.guidance.planning import Planning, checked_vocabulary
from llm_wrappers.guidance.resolve import resolve_planner
from llm_wrappers.guidance.selection import NO_GOAL, GoalSelector

__all__ = ["GoalChannel"]


class GoalChannel:
    """Facts to goals to goal vectors, batch first; shared by both goal observation wrappers.

    Args:
        n: The number of sub-environments.
        captioner: Gives the facts.
        planner: The planner, a function or a name.
        goals: The goal vocabulary; None for the one of the captioner's description.
        encoder: ``"one-hot"``, or what `resolve_encoder` takes.
        selection: See `GoalSelector`.
        reselect: See `GoalSelector`.
        fallback_goal: Shown where the planner fails; None for the first of the vocabulary.
    """

    def __init__(
        self,
        n: int,
        *,
        captioner: Captioner,
        planner: str | Planner | PlannerFunction,
        goals: Sequence[str] | None,
        encoder: str | Encoder,
        selection: str,
        reselect: str,
        fallback_goal: str | None,
    ) -> None:
        description = captioner.description
        self.captioner = captioner
        self.goals = checked_vocabulary(description.goals if goals is None else goals)
        fallback = self.goals[0] if fallback_goal is None else fallback_goal
        if fallback not in self.goals:
            raise InvalidOptionError(
                f"fallback_goal must be one of the goals {list(self.goals)}, got {fallback_goal!r}"
            )
        self.selector = GoalSelector(n, selection=selection, reselect=reselect)
        self.planning = Planning(
            resolve_planner(planner, env_id=description.env_id, goals=self.goals),
            goals=self.goals,
            fallback=fallback,
        )
        self._vectors = _goal_vectors(encoder, self.goals)
        self._texts = np.array([*self.goals, ""], dtype=object)
        self._steps = np.zeros(len(self.goals), dtype=np.int64)

    @property
    def space(self) -> gym.spaces.Box:
        """The space of one goal vector; a state without a goal is the zero vector."""
        low = 0.0 if self._vectors.min() >= 0.0 else -1.0
        return gym.spaces.Box(low, 1.0, (self._vectors.shape[1],), np.float32)

    def update(
        self,
        observations: Any,
        infos: Mapping[str, Any],
        *,
        streams: Sequence[np.random.Generator],
        fresh: NDArray[np.bool_],
        rows: NDArray[np.intp] | None = None,
    ) -> None:
        """Choose the goals for the current states.

        Args:
            observations: Batched along the first axis; m of them.
            infos: In the form of gymnasium.vector, of the same m.
            streams: Their m random generators.
            fresh: Where an episode has just begun, shape (m,).
            rows: Which m of the n sub-environments these are; None for all.
        """
        plans = self.planning.plans(self.captioner.facts(observations, infos))
        chosen = self.selector.select(plans, streams, fresh, rows)
        self._steps += np.bincount(chosen[chosen != NO_GOAL], minlength=len(self.goals))

    def current_vectors(self) -> NDArray[np.float32]:
        """Return fresh vectors of the current goals, shape (n, d); zero for no goal."""
        vectors: NDArray[np.float32] = self._vectors[self.selector.goals]
        return vectors

    def texts(self) -> NDArray[np.object_]:
        """Return the current goals, shape (n,); the empty string for no goal."""
        rows: NDArray[np.object_] = self._texts[self.selector.goals]
        return rows

    def guiding(self) -> list[str | None]:
        """Return the current goals, None where there is none or the planner failed."""
        return [
            text if guided else None
            for text, guided in zip(self.texts(), self.selector.guided.tolist(), strict=True)
        ]

    def stats(self) -> dict[str, Any]:
        """Return the counters since construction."""
        steps = {goal: int(count) for goal, count in zip(self.goals, self._steps, strict=True)}
        return {**self.planning.counts, "goal_steps": steps}

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode."""
        return {"counts": dict(self.planning.counts), "goal_steps": self._steps.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        if len(state["goal_steps"]) != len(self.goals):
            raise InvalidOptionError(
                f"this state is of {len(state['goal_steps'])} goals, not of {len(self.goals)}"
            )
        self.planning.counts.update(state["counts"])
        self._steps = np.array(state["goal_steps"], dtype=np.int64)


def _goal_vectors(encoder: str | Encoder, goals: Sequence[str]) -> NDArray[np.float32]:
    """Return one row per goal, and a last row of zeros that index -1 (no goal) finds."""
    if isinstance(encoder, str) and encoder == "one-hot":
        vectors = np.eye(len(goals), dtype=np.float32)
    else:
        vectors = resolve_encoder(encoder).encode(list(goals)).astype(np.float32)
        if vectors.ndim != 2 or len(vectors) != len(goals) or not np.isfinite(vectors).all():
            raise InvalidOptionError(
                f"the encoder must return {len(goals)} finite vectors, got shape {vectors.shape}"
            )
        if np.abs(vectors).max() > 1.0 + 1e-6:
            raise InvalidOptionError("the encoder must return vectors of unit length")
        vectors = np.clip(vectors, -1.0, 1.0)
    return np.concatenate([vectors, np.zeros((1, vectors.shape[1]), dtype=np.float32)])
