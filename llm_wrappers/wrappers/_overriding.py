"""Advised actions and rewards at the critical states of n sub-environments (ULTRA)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import (
    GuidanceWarning,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.guidance.critical_states import CriticalStates, resolve_critical_states
from llm_wrappers.schedules import Schedule, coefficient, resolve_schedule
from llm_wrappers.wrappers._legality import Legality
from llm_wrappers.wrappers._taken import Taken

__all__ = ["Overriding", "is_maskable"]

_CHOICES = {
    "mode": ("RA", "A", "R"),
    "reward": ("agreement", "state"),
    "advice": ("execute", "mask"),
}
_STEPS_WITHOUT_A_HIT = 1000


class Overriding:
    """Looks up states, advises and rewards; shared by both wrappers.

    Args:
        n: The number of sub-environments.
        critical_states: A table or a name.
        observation_space: That of one sub-environment.
        action_space: Likewise.
        mode: ``"RA"``, ``"A"`` or ``"R"``.
        alpha: The size of the rewards, at least 0.
        schedule: A coefficient on alpha.
        probability: With which probability the advice is executed or leaves its action only.
        reward: ``"agreement"`` or ``"state"``.
        advice: ``"execute"`` or ``"mask"``.
        tolerance: How far an action may be from the advice to agree, of the range of a Box.
        training: Whether anything is done at all.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
    """

    def __init__(
        self,
        n: int,
        *,
        critical_states: str | CriticalStates,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        mode: str,
        alpha: float,
        schedule: float | Mapping[str, Any] | Schedule,
        probability: float | Mapping[str, Any] | Schedule,
        reward: str,
        advice: str,
        tolerance: float,
        training: bool,
    ) -> None:
        for name, value in (("mode", mode), ("reward", reward), ("advice", advice)):
            if value not in _CHOICES[name]:
                raise InvalidOptionError(f"{name} must be one of {_CHOICES[name]}, got {value!r}")
        if advice == "mask" and mode == "R":
            raise InvalidOptionError('advice="mask" needs a mode with advice: "RA" or "A"')
        if advice == "mask" and not isinstance(action_space, gym.spaces.Discrete):
            raise IncompatibleEnvironmentError(
                f'advice="mask" needs a Discrete action space, got {action_space}; use "execute"'
            )
        self.space = action_space
        self.table = resolve_critical_states(critical_states).bind(observation_space, action_space)
        self.masks_actions = advice == "mask"
        self._advises = mode != "R"
        self._alpha = 0.0 if mode == "A" else _checked("alpha", alpha)
        self._by_agreement = reward == "agreement"
        self._near = _nearness(action_space, _checked("tolerance", tolerance))
        self._schedule = resolve_schedule(schedule)
        self._probability = resolve_schedule(probability)
        self._index = np.full(n, -1, dtype=np.intp)
        self._applied = np.zeros(n, dtype=np.bool_)
        self._skipped = np.zeros(n, dtype=np.bool_)
        self._legality = Legality(n, action_space) if is_maskable(action_space) else None
        self._warned = False
        self.counts = dict.fromkeys(("steps", "hits", "overrides", "agreements", "skipped"), 0)
        self.set_training(training)
        self.set_progress(0.0)

    @property
    def is_identity(self) -> bool:
        """Whether the rewards of the layers below pass through as they are."""
        return not (self.training and self._weight and len(self.table))

    def set_training(self, training: bool) -> None:
        """Switch everything on or off; on, it begins with the next state.

        Raises:
            InvalidOptionError: If it is no bool.
        """
        if not isinstance(training, bool):
            raise InvalidOptionError(f"training must be True or False, got {training!r}")
        self.training = training
        if not training:
            self.forget(np.ones(len(self._index), dtype=np.bool_))

    def set_progress(self, progress: float) -> None:
        """Set the training progress, in [0, 1], from which the schedules give coefficients."""
        self._weight = self._alpha * coefficient(self._schedule, progress)
        self._chance = coefficient(self._probability, progress)
        self.progress = float(progress)

    def forget(self, rows: NDArray[Any]) -> None:
        """Take the states of some sub-environments, flags or numbers, for no critical ones."""
        self._index[rows] = -1
        self._applied[rows] = self._skipped[rows] = False

    def see(self, inner: NDArray[Any] | None) -> None:
        """Take in the action masks of the layers below, shape (n, actions), or None.

        Raises:
            IncompatibleEnvironmentError: If they are not of this action space.
        """
        if self._legality is not None:
            self._legality.see(inner)

    def look(
        self,
        observations: Any,
        streams: Sequence[np.random.Generator],
        rows: NDArray[np.intp],
    ) -> None:
        """Look up the states that some sub-environments are in now, and toss the coin there.

        Args:
            observations: Of these sub-environments, in their order.
            streams: The n random generators.
            rows: Which of them have a new state to act in.
        """
        self.forget(rows)
        if not (self.training and len(self.table) and len(rows)):
            return
        self._index[rows] = self.table.match(observations)
        critical = rows[self._index[rows] >= 0]
        if self._legality is not None:
            advised = self.table.actions[self._index[critical]]
            self._skipped[critical] = ~self._legality.allows(advised, critical)
        if self._advises:
            # The coin falls also where the advice is forbidden: whether it is changes no stream.
            heads = [self._toss(streams[row]) for row in critical]
            self._applied[critical] = np.array(heads, dtype=np.bool_) & ~self._skipped[critical]

    def masks(self) -> NDArray[np.bool_]:
        """Return fresh action masks, shape (n, actions); of a Box with no actions."""
        if self._legality is None:
            return np.ones((len(self._index), 0), dtype=np.bool_)
        if not self.masks_actions:
            return self._legality.masks.copy()
        rows = np.flatnonzero(self._applied)
        return self._legality.only(self.table.actions[self._index[rows]], rows)

    def act(self, actions: Any, stepped: NDArray[np.bool_]) -> Taken:
        """Return what a step does, and count it.

        Args:
            actions: The n actions of the agent.
            stepped: Where the step is one of an episode, shape (n,).

        Raises:
            InvalidOptionError: If the actions are not of the shape of the action space.
        """
        agent = np.array(actions, dtype=self.space.dtype)
        if agent.shape[1:] != (self.space.shape or ()):
            raise InvalidOptionError(
                f"expected actions of shape {self.space.shape}, got {agent.shape[1:]}"
            )
        critical = (self._index >= 0) & stepped
        rows = np.flatnonzero(critical)
        overridden = critical & self._applied & (not self.masks_actions)
        executed, implicit = agent, np.zeros(len(agent))
        agrees = np.zeros(0, dtype=np.bool_)
        if len(rows):
            agrees = self._agreement(agent, rows)
            implicit[rows] = self._rewards(rows, agrees)
            executed = agent.copy()
            executed[overridden] = self.table.actions[self._index[overridden]]
        counted = (stepped, critical, overridden, agrees, self._skipped & critical)
        for name, flags in zip(self.counts, counted, strict=True):
            self.counts[name] += int(flags.sum())
        self._warn_of_no_hits()
        return Taken(agent, executed, critical, overridden, implicit)

    def stats(self) -> dict[str, Any]:
        """Return the counters, those of the table, the weight and the probability."""
        return {
            **self.counts,
            "hit_share": self.counts["hits"] / max(self.counts["steps"], 1),
            "conflicts": self.table.counts["conflicts"],
            "table": dict(self.table.counts),
            "weight": self._weight,
            "probability": self._chance,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the progress, whether it is on, and the counters."""
        return {
            "progress": self.progress,
            "training": self.training,
            "counts": dict(self.counts),
            "warned": self._warned,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it is the state of something else.
        """
        mine = self.state_dict()
        if state.keys() != mine.keys() or state["counts"].keys() != mine["counts"].keys():
            raise InvalidOptionError(
                f"expected the state of {sorted(mine['counts'])}, got "
                f"{sorted(state.get('counts', {}))}; this is the state of another wrapper"
            )
        self.set_progress(state["progress"])
        self.set_training(state["training"])
        self.counts.update(state["counts"])
        self._warned = state["warned"]

    def _toss(self, stream: np.random.Generator) -> bool:
        return bool(stream.random() < self._chance)

    def _agreement(self, agent: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        advised = self.table.actions[self._index[rows]]
        apart = np.abs(np.subtract(agent[rows], advised, dtype=np.float64))
        return np.asarray((apart <= self._near).reshape(len(rows), -1).all(axis=1))

    def _rewards(self, rows: NDArray[np.intp], agrees: NDArray[np.bool_]) -> NDArray[np.float64]:
        rated = self._weight * self.table.rewards[self._index[rows]]
        if not self._by_agreement:
            return np.asarray(rated)
        # Nobody can agree with advice that is forbidden.
        return np.where(self._skipped[rows], 0.0, np.where(agrees, 1.0, -1.0) * np.abs(rated))

    def _warn_of_no_hits(self) -> None:
        missed = self.counts["steps"] >= _STEPS_WITHOUT_A_HIT and not self.counts["hits"]
        if self._warned or not missed or not self.training or not len(self.table):
            return
        self._warned = True
        warnings.warn(
            f"no critical state was met in {self.counts['steps']} steps with "
            f"key={self.table.key!r}, so that this is training without guidance: exact keys never "
            "match where episodes begin at random in a continuous space; give CriticalStates a "
            'coarser key, "rounded:DECIMALS", "bins:WIDTH" or "nearest:RADIUS"; said once',
            GuidanceWarning,
            stacklevel=2,
        )


def is_maskable(space: gym.Space[Any]) -> bool:
    """Return whether actions of this space can be masked."""
    return not isinstance(space, gym.spaces.Box)


def _checked(name: str, value: float) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0.0 <= value < float("inf"):
        raise InvalidOptionError(f"{name} must be a finite number >= 0, got {value!r}")
    return float(value)


def _nearness(space: gym.Space[Any], tolerance: float) -> NDArray[np.float64]:
    """Return how far from the advice each part of an action may be, and still agree with it."""
    if not isinstance(space, gym.spaces.Box) or space.dtype.kind != "f":
        return np.zeros(space.shape or ())
    with np.errstate(over="ignore"):
        width = np.subtract(space.high, space.low, dtype=np.float64)
    return tolerance * np.where(np.isfinite(width), width, 1.0)
