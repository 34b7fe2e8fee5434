"""Advised actions and rewards at the critical states of n sub-environments (ULTRA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.adaptive_trust import refuse_trust, resolve_trusted
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance._closeness import Closeness, checked_size
from llm_wrappers.guidance._no_hits import warn_of_no_hits
from llm_wrappers.guidance.critical_states import CriticalStates, resolve_critical_states
from llm_wrappers.schedules import Schedule, coefficient
from llm_wrappers.wrappers._legality import Legality
from llm_wrappers.wrappers._scheduled_coin import ScheduledCoin
from llm_wrappers.wrappers._taken import Taken
from llm_wrappers.wrappers._trust_evidence import TrustEvidence

__all__ = ["Overriding", "is_maskable"]

_CHOICES = {
    "mode": ("RA", "A", "R"),
    "reward": ("agreement", "state"),
    "advice": ("execute", "mask"),
}
_NO_REWARDS = 'mode="A" pays no rewards that could be trusted; give probability an adaptive one'
_NO_ADVICE = 'mode="R" executes no advice that could be trusted; give schedule an adaptive one'


class Overriding:
    """Looks up states, advises and rewards; shared by both wrappers.

    Args:
        n: The number of sub-environments.
        critical_states: A table or a name.
        observation_space: That of one sub-environment.
        action_space: Likewise.
        mode: ``"RA"``, ``"A"`` or ``"R"``.
        alpha: The size of the rewards, at least 0.
        schedule: A coefficient on alpha; what `resolve_trusted` takes.
        probability: With which probability the advice is executed or leaves its action only;
            what `ScheduledCoin` takes.
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
        self._alpha = checked_size("alpha", alpha) * (mode != "A")
        self._by_agreement = reward == "agreement"
        self._closeness = Closeness(action_space, tolerance)
        self._schedule = resolve_trusted(schedule)
        self._evidence = TrustEvidence(n, self._schedule)
        self._coin = ScheduledCoin(probability, n)
        if mode == "A":
            refuse_trust(self._schedule, _NO_REWARDS)
        if mode == "R":
            self._coin.refuse_trust(_NO_ADVICE)
        self._approvals = np.full(n, np.nan)
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
        self._coin.set_progress(progress)
        self.progress = float(progress)

    def begin(self, streams: Sequence[np.random.Generator], fresh: NDArray[np.bool_]) -> None:
        """Begin episodes, before `look`; with an adaptive probability some are without advice.

        Args:
            streams: The n random generators.
            fresh: Where an episode begins, shape (n,).
        """
        self._evidence.begin(fresh)
        self._coin.begin(np.flatnonzero(fresh), streams)

    def learn(self, paid: Any, stepped: NDArray[np.bool_], ended: NDArray[np.bool_]) -> None:
        """Report a step to schedules that adapt, after `act` and before the next `begin`.

        Args:
            paid: What the environment paid, shape (n,).
            stepped: Where the step was one of an episode, shape (n,).
            ended: Where an episode ended, shape (n,).
        """
        if not (self.training and len(self.table)):
            return
        rows = np.flatnonzero(stepped)
        self._coin.learn(paid, rows, ended)
        self._evidence.learn(self._approvals, paid, rows, ended)
        if self._evidence.trust is not None:
            self.set_progress(self.progress)

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
            heads = self._coin.toss([streams[row] for row in critical], critical)
            self._applied[critical] = heads & ~self._skipped[critical]

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
        self._approvals[:] = np.nan
        if len(rows):
            agrees = self._closeness.agree(agent[rows], self.table.actions[self._index[rows]])
            implicit[rows] = self._weight * self._ratings(rows, agrees)
            # What was done decides what was paid, whoever chose it.
            self._approvals[rows] = self._ratings(rows, agrees | overridden[rows])
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
            "probability": self._coin.xi,
            **self._trusts(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the progress, whether it is on, and the counters."""
        return {
            "progress": self.progress,
            "training": self.training,
            "counts": dict(self.counts),
            "warned": self._warned,
            "advice": self._coin.state_dict(),
            **self._evidence.state_dict(),
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
        self._evidence.load_state_dict(state)
        self._coin.load_state_dict(state["advice"])
        self.set_progress(state["progress"])
        self.set_training(state["training"])
        self.counts.update(state["counts"])
        self._warned = state["warned"]

    def _ratings(self, rows: NDArray[np.intp], agrees: NDArray[np.bool_]) -> NDArray[np.float64]:
        rated = self.table.rewards[self._index[rows]]
        if not self._by_agreement:
            return rated
        # Nobody can agree with advice that is forbidden.
        return np.where(self._skipped[rows], 0.0, np.where(agrees, 1.0, -1.0) * np.abs(rated))

    def _trusts(self) -> dict[str, float]:
        """Return the counters of the trust in rewards, and of that in advice."""
        advice = self._coin.stats()
        del advice["xi"]
        return {**self._evidence.stats(), **{f"advice_{name}": advice[name] for name in advice}}

    def _warn_of_no_hits(self) -> None:
        if self.training and len(self.table) and not self._warned:
            steps, hits = self.counts["steps"], self.counts["hits"]
            self._warned = warn_of_no_hits(self.table.key, steps=steps, hits=hits)


def is_maskable(space: gym.Space[Any]) -> bool:
    """Return whether actions of this space can be masked."""
    return not isinstance(space, gym.spaces.Box)
