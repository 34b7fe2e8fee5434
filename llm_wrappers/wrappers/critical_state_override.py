"""Advised actions and rewards at critical states (ULTRA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.batches import take_rows
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance.critical.state_keys import Closeness
from llm_wrappers.guidance.critical.table import CriticalStates, NoHits, resolve_critical_states
from llm_wrappers.guidance.masks import flat_action_count
from llm_wrappers.schedules import Schedule
from llm_wrappers.trust import ScheduledCoin, TrustEvidence, refuse_trust, resolve_trusted
from llm_wrappers.wrappers._core import Core, Place, Start, Step
from llm_wrappers.wrappers._guided import Guided
from llm_wrappers.wrappers._layer import Layer
from llm_wrappers.wrappers._open_actions import OpenActions
from llm_wrappers.wrappers._world import NOBODY

__all__ = ["CriticalStateOverrideWrapper", "Override", "OverrideMethods"]

_CHOICES = {
    "mode": ("RA", "A", "R"),
    "reward": ("agreement", "state"),
    "advice": ("execute", "mask"),
}
_NO_REWARDS = 'mode="A" pays no rewards that could be trusted; give probability an adaptive one'
_NO_ADVICE = 'mode="R" executes no advice that could be trusted; give schedule an adaptive one'


class Override(Core):
    """Looks up states, advises and rewards; for options see `CriticalStateOverrideWrapper`."""

    def __init__(
        self,
        place: Place,
        *,
        critical_states: str | CriticalStates,
        mode: str,
        alpha: float,
        schedule: float | Mapping[str, Any] | Schedule,
        probability: float | Mapping[str, Any] | Schedule,
        reward: str,
        advice: str,
        tolerance: float,
        training: bool,
    ) -> None:
        n, space = place.n, place.action_space
        for name, value in (("mode", mode), ("reward", reward), ("advice", advice)):
            checks.one_of(name, value, _CHOICES[name])
        self._masks_actions = advice == "mask"
        if self._masks_actions:
            _check_mask(mode, space)
        self._advises = mode != "R"
        self._alpha = checks.number("alpha", alpha, least=0) * (mode != "A")
        self._by_agreement = reward == "agreement"
        self._closeness = Closeness(space, tolerance)
        self._schedule = resolve_trusted(schedule)
        self._evidence = TrustEvidence(n, self._schedule)
        self._coin = ScheduledCoin(n, probability, name="probability", prefix="advice_")
        if mode == "A":
            refuse_trust(self._schedule, _NO_REWARDS)
        if mode == "R":
            self._coin.refuse_trust(_NO_ADVICE)
        table = resolve_critical_states(critical_states)
        self._reads_world, self.table = _bound(table, place)
        self._open = place.world.open_actions(space)
        self._advised = np.full(n, -1, dtype=np.intp)
        self._heads = np.zeros(n, dtype=np.bool_)
        self._implicit = np.zeros(n)
        self._approvals = np.full(n, np.nan)
        self.counts = NoHits("steps", "hits", "overrides", "agreements", "skipped")
        super().__init__(
            place,
            _told(n, space, with_mask=self._masks_actions),
            parts={"counts": self.counts, "advice": self._coin, "trust": self._evidence},
        )
        self.needs_ends = self._evidence.trust is not None or self._coin.adapts
        self.set_training(checks.flag("training", training))
        self.set_progress(self.progress)

    # --- episodes and steps ---

    def begin(self, start: Start) -> None:
        """Begin episodes, of which an adaptive probability leaves some without advice."""
        super().begin(start)
        self._evidence.begin(start.rows)
        self._coin.begin(start.rows, start.streams)
        self._look(start.observations, start.rows, start.streams)
        self._tell_masks(start.rows)

    def act(self, actions: Any, rows: NDArray[np.intp], streams: Any) -> Any:
        """Return the actions with the advised one where the coin says so and no mask forbids it.

        Raises:
            InvalidOptionError: If the actions are not of the shape of the action space.
        """
        space = self.place.action_space
        self._agent = agent = np.array(actions, dtype=space.dtype)
        if agent.shape[1:] != (space.shape or ()):
            raise InvalidOptionError(
                f"expected actions of shape {space.shape}, got {agent.shape[1:]}"
            )
        stepped = np.zeros(self.n, dtype=np.bool_)
        stepped[rows] = True
        critical = np.flatnonzero((self._advised >= 0) & stepped)
        told, counts = self.told, self.counts
        told["critical"][:] = told["overridden"][:] = False
        self._implicit = np.zeros(self.n)
        self._approvals[:] = np.nan
        counts["steps"] += len(rows)
        if len(critical):
            told["critical"][critical] = True
            actions = self._advise(agent, critical, actions)
        if self.training and len(self.table):
            counts.say_if_none(self.table.key)
        return actions

    def step(self, step: Step) -> None:
        """Say what was done, learn from it, and look up the states that it led to."""
        told, rows = self.told, step.rows
        told["agent_action"][rows] = self._agent[rows]
        told["executed_action"][rows] = np.asarray(step.executed)[rows]
        told["implicit_reward"][rows] = self._implicit[rows]
        self._is_identity = not (self.training and self._weight and len(self.table))
        if self.training and len(self.table):
            self._coin.learn(step.paid, rows, step.ended)
            if self._evidence.trust is not None:
                self._evidence.learn(self._approvals, step.paid, rows, step.ended)
                self.set_progress(self.progress)
        # The last state of an episode is acted in by nobody.
        over, going_on = NOBODY, rows
        if step.any_ended:
            ended = step.ended[rows]
            over, going_on = rows[ended], rows[~ended]
            self._forget(over)
        self._look(step.observations, going_on, step.streams)
        self._tell_masks(going_on, over=over)

    def pay(self, rewards: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return the rewards with the implicit ones."""
        return None if self._is_identity else rewards + self._implicit

    def set_training(self, training: bool) -> None:
        """Switch everything on, from the next state, or off at once."""
        super().set_training(training)
        if not training:
            self._forget(np.arange(self.n))
            if isinstance(self._open, OpenActions):
                self._open.forget_advice()

    def set_progress(self, progress: float) -> None:
        """Set the training progress, from which the schedules give coefficients."""
        super().set_progress(progress)
        self._weight = self._alpha * self.scheduled(self._schedule)
        self.scheduled(self._coin.schedule)
        self._coin.set_progress(progress)

    def masks(self) -> NDArray[np.bool_]:
        """Return fresh action masks of the stack, shape (n, actions); of a Box with no actions."""
        if not isinstance(self._open, OpenActions):
            return np.ones((self.n, 0), dtype=np.bool_)
        return self._open.now()

    def stats(self) -> dict[str, Any]:
        """Return the counters, those of the table, the weight and the probability."""
        return {
            **super().stats(),
            "hit_share": self.counts["hits"] / max(self.counts["steps"], 1),
            "conflicts": self.table.counts["conflicts"],
            "table": dict(self.table.counts),
            "weight": self._weight,
        }

    # --- helpers ---

    def _advise(self, agent: NDArray[Any], critical: NDArray[np.intp], actions: Any) -> Any:
        told, counts = self.told, self.counts
        advised = self.table.actions[self._advised[critical]]
        # Now, and not when the state was looked up: layers above have drawn their masks since.
        allowed = self._open.allows(advised, critical)
        overrides = allowed & self._heads[critical] & (not self._masks_actions)
        agrees = self._closeness.agree(agent[critical], advised)
        self._implicit[critical] = self._weight * self._ratings(critical, agrees, allowed)
        # What was done decides what was paid, whoever chose it.
        done = agrees | overrides
        self._approvals[critical] = self._ratings(critical, done, allowed)
        counts["hits"] += len(critical)
        counts["agreements"] += int(agrees.sum())
        counts["skipped"] += int((~allowed).sum())
        counts["overrides"] += int(overrides.sum())
        if not overrides.any():
            return actions
        told["overridden"][critical] = overrides
        executed = agent.copy()
        executed[critical[overrides]] = advised[overrides]
        return executed

    def _look(
        self,
        observations: Any,
        rows: NDArray[np.intp],
        streams: Sequence[np.random.Generator],
    ) -> None:
        """Look up the states that some sub-environments are in now, and toss the coin there."""
        self._forget(rows)
        if not (self.training and len(self.table) and len(rows)):
            return
        states = self.world.observations if self._reads_world else self.place.batch(observations)
        self._advised[rows] = self.table.match(
            states if len(rows) == self.n else take_rows(states, rows)
        )
        critical = rows[self._advised[rows] >= 0]
        if self._advises and len(critical):
            # The coin falls also where the advice is forbidden: whether it is changes no stream.
            self._heads[critical] = self._coin.toss(streams, critical)
            if self._masks_actions:
                followed = critical[self._heads[critical]]
                self._open.advise(self.table.actions[self._advised[followed]], followed)

    def _tell_masks(self, rows: NDArray[np.intp], *, over: NDArray[np.intp] = NOBODY) -> None:
        if self._masks_actions:
            # A layer below has told its mask, which is without the advice of this one.
            self.told["action_mask"][rows] = self.masks()[rows]
            self.told["action_mask"][over] = 1

    def _forget(self, rows: NDArray[np.intp]) -> None:
        self._advised[rows] = -1
        self._heads[rows] = False

    def _ratings(
        self, rows: NDArray[np.intp], agrees: NDArray[np.bool_], allowed: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        rated = self.table.rewards[self._advised[rows]]
        if not self._by_agreement:
            return rated
        # Nobody can agree with advice that is forbidden.
        return np.where(allowed, np.where(agrees, 1.0, -1.0) * np.abs(rated), 0.0)


def _check_mask(mode: str, space: gym.Space[Any]) -> None:
    if mode == "R":
        raise InvalidOptionError('advice="mask" needs a mode with advice: "RA" or "A"')
    if not isinstance(space, gym.spaces.Discrete):
        raise IncompatibleEnvironmentError(
            f'advice="mask" needs a Discrete action space, got {space}; use "execute"'
        )


def _bound(table: CriticalStates, place: Place) -> tuple[bool, CriticalStates]:
    """Return the table for the states of the world, else for those that the layer below shows."""
    space = place.action_space
    try:
        return True, table.bind(place.world.inner_space, space)
    except IncompatibleEnvironmentError:
        if place.observation_space == place.world.inner_space:
            raise
        return False, table.bind(place.observation_space, space)


def _told(n: int, space: gym.Space[Any], *, with_mask: bool) -> dict[str, NDArray[Any]]:
    signed = not isinstance(space, gym.spaces.Box) and np.dtype(space.dtype).kind == "i"
    # Nothing is chosen or executed at a reset.
    nothing = np.full((n, *(space.shape or ())), -1 if signed else 0, space.dtype)
    mask = {"action_mask": np.ones((n, flat_action_count(space)), np.int8)} if with_mask else {}
    return {
        **mask,
        "executed_action": nothing,
        "agent_action": nothing,
        "overridden": np.zeros(n, dtype=np.bool_),
        "critical": np.zeros(n, dtype=np.bool_),
        "implicit_reward": np.zeros(n),
    }


class OverrideMethods(Layer):
    """The options and methods of `CriticalStateOverrideWrapper`, around one or many."""

    core: Override
    batched_methods: ClassVar = frozenset({"action_masks"})

    def __init__(
        self,
        env: Any,
        *,
        critical_states: str | CriticalStates,
        mode: str = "RA",
        alpha: float = 0.5,
        schedule: float | Mapping[str, Any] | Schedule = 1.0,
        probability: float | Mapping[str, Any] | Schedule = 0.5,
        reward: str = "agreement",
        advice: str = "execute",
        tolerance: float = 0.1,
        training: bool = True,
    ) -> None:
        self._guide(
            env, Override, critical_states=critical_states, mode=mode, alpha=alpha,
            schedule=schedule, probability=probability, reward=reward, advice=advice,
            tolerance=tolerance, training=training,
        )  # fmt: skip

    def action_masks(self) -> NDArray[np.bool_]:
        """Return a fresh copy of the current mask of the stack, True where an action is open.

        In critical states with ``advice="mask"`` only the advised action is, where it may be. A
        Box has no mask: it is empty.
        """
        mask: NDArray[np.bool_] = self._own(self.core.masks())
        return mask


class CriticalStateOverrideWrapper(OverrideMethods, Guided):
    """Executes advised actions, and adds rewards, in the critical states of a table.

    Implements the refinement of ULTRA (arXiv 2505.20671). The state *before* the action is looked
    up in a table that was written before training; no model is asked here. In a critical state
    mode ``"A"`` executes the advised action instead of the agent's, ``"R"`` adds alpha * r_LLM to
    the reward, and ``"RA"`` does both.

    **The defaults are not the paper's.** There the advice is always executed, and alpha * r_LLM is
    paid in a critical state whatever the agent does: ``probability=1.0, reward="state"``. The
    agent's own action then has no effect, and PPO learns nothing about it: in the test of
    "Critical states" in the documentation the advised action was not learnt, and the gain was gone
    without the override. ``reward="agreement"`` pays alpha * abs(r_LLM) if the agent *itself* chose
    the advised action and takes it off if not, and with ``probability=0.5`` its action counts every
    other time. Of the arms that execute advice, the one with both learnt the action best;
    ``mode="R"`` alone learnt it faster still. Evaluate with `set_training` off.

    An algorithm stores the action that it chose, not the one that was executed. For DQN, SAC and
    other off-policy algorithms that is a wrong sample: train with
    `llm_wrappers.sb3.relabel_callback.RelabelCallback`, which writes the executed action into the
    buffer.

    ``info`` has `agent_action`, `executed_action`, `overridden` (the advice was executed),
    `critical`, `implicit_reward` (what was added), `extrinsic_reward`, and `action_mask` if that is
    how advice is given. Advice that a mask or bounds forbid, of the environment or of a layer of
    ours, is skipped and counted. A mask of somebody else's wrapper above cannot be known here.

    The states of the table are those of the environment, whatever layers of ours below make of its
    observation; of a Dict the entry is taken that has their shape.

    A vector version exists: `llm_wrappers.wrappers.vector.CriticalStateOverrideWrapper`.

    Args:
        env: An environment with a Box, Discrete, MultiDiscrete or MultiBinary action space.
        critical_states: A `llm_wrappers.guidance.critical.table.CriticalStates` table,
            ``"file:PATH"``, or ``"none"``, which changes nothing.
        mode: ``"RA"``, ``"A"`` or ``"R"``.
        alpha: The size of the added rewards, at least 0: in the paper 0.5 for Pong, and 0.1 for
            Hopper, Walker2d and Ant.
        schedule: A coefficient on alpha: a number, a dict such as ``{"kind": "linear", "start":
            1.0, "end": 0.0}``, or a callable of the training progress. Constant in the paper. With
            ``{"kind": "adaptive"}`` advice that does not pay loses its rewards.
        probability: With which probability the advice is executed, or leaves its action only; a
            schedule likewise. 1 in the paper; 0.5 is our choice, as said above. An adaptive one
            compares episodes with advice and without.
        reward: ``"agreement"`` or ``"state"``.
        advice: ``"execute"``, or for MaskablePPO ``"mask"``: `action_masks` then leave only the
            advised action of a Discrete space, which teaches a policy nothing about it either.
        tolerance: How far an action of a Box may be from the advice and still agree with it, in
            each dimension, as a share of its range, or where that is infinite in its units. Our
            choice.
        training: False switches all of it off.

    Raises:
        InvalidOptionError: If an option is outside what is documented, or an action of the table is
            not of the action space.
        UnknownNameError: If the name is not known.
        GuidanceFileError: If the file is missing or holds no table.
        IncompatibleEnvironmentError: If the table has states of another shape, or actions of this
            space cannot be advised.

    >>> import gymnasium as gym
    >>> from llm_wrappers.guidance.critical.table import CriticalState
    >>> from llm_wrappers.guidance.critical.table import CriticalStates
    >>> table = CriticalStates([CriticalState(14, 1)], key="exact")
    >>> env = gym.make("FrozenLake-v1", is_slippery=False)
    >>> env = CriticalStateOverrideWrapper(env, critical_states=table)
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(2)
    >>> info["critical"], info["executed_action"], info["implicit_reward"]
    (False, 2, 0.0)
    """
