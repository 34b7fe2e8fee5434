"""Advised actions and rewards at critical states (ULTRA)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from llm_wrappers.guidance.critical_states import CriticalStates
from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers._goals_below import find_below, forward_progress, gathered_stats
from llm_wrappers.wrappers._overriding import Overriding, is_maskable
from llm_wrappers.wrappers._streams import depth_of, make_stream
from llm_wrappers.wrappers._taken import Taken
from llm_wrappers.wrappers.goal_observation import batch_of_one

__all__ = ["CriticalStateOverrideWrapper"]

_ROW = np.array([0])
_STEPPED = np.array([True])


class CriticalStateOverrideWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
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
    `critical`, `implicit_reward` (what was added) and `extrinsic_reward`. Advice that the
    `action_masks` of a layer below forbid is skipped and counted; put masks below this wrapper.

    A vector version exists: `llm_wrappers.wrappers.vector.CriticalStateOverrideWrapper`.

    Args:
        env: An environment with a Box, Discrete, MultiDiscrete or MultiBinary action space.
        critical_states: A `llm_wrappers.guidance.critical_states.CriticalStates` table,
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
    >>> from llm_wrappers.guidance.critical_state import CriticalState
    >>> from llm_wrappers.guidance.critical_states import CriticalStates
    >>> table = CriticalStates([CriticalState(14, 1)], key="exact")
    >>> env = gym.make("FrozenLake-v1", is_slippery=False)
    >>> env = CriticalStateOverrideWrapper(env, critical_states=table)
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(2)
    >>> info["critical"], info["executed_action"], info["implicit_reward"]
    (False, 2, 0.0)
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
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
        self._overriding = Overriding(
            1,
            critical_states=critical_states,
            observation_space=env.observation_space,
            action_space=env.action_space,
            mode=mode,
            alpha=alpha,
            schedule=schedule,
            probability=probability,
            reward=reward,
            advice=advice,
            tolerance=tolerance,
            training=training,
        )
        RecordConstructorArgs.__init__(
            self,
            critical_states=critical_states,
            mode=mode,
            alpha=alpha,
            schedule=schedule,
            probability=probability,
            reward=reward,
            advice=advice,
            tolerance=tolerance,
            training=training,
        )
        gym.Wrapper.__init__(self, env)
        self._base_space = env.observation_space
        self._depth = depth_of(env, type(self).__name__)
        self._stream = make_stream(None, type(self).__name__, self._depth)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and look up the first state."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._stream = make_stream(seed, type(self).__name__, self._depth)
        self._overriding.begin([self._stream], _STEPPED)
        self._look(observation, over=False)
        return observation, self._informed(info, 0.0, Taken.nothing(1, self._overriding.space))

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment, in a critical state as the table advises.

        Raises:
            InvalidOptionError: If the action is not of the shape of the action space.
        """
        taken = self._overriding.act(np.asarray(action)[None], _STEPPED)
        executed = taken.executed[0].copy() if taken.overridden[0] else action
        observation, reward, terminated, truncated, info = self.env.step(executed)
        over = bool(terminated or truncated)
        info = self._informed(info, float(reward), taken)
        pays = not self._overriding.is_identity
        self._overriding.learn([info["extrinsic_reward"]], _STEPPED, np.array([over]))
        self._look(observation, over=over)
        if pays:
            reward = float(reward) + float(taken.implicit[0])
        return observation, reward, bool(terminated), bool(truncated), info

    def action_masks(self) -> NDArray[np.bool_]:
        """Return a fresh copy of the current mask, True where an action is open.

        In critical states with ``advice="mask"`` only the advised action is; else it is the mask of
        the layers below, all open where there is none. A Box has no mask: it is empty.
        """
        mask: NDArray[np.bool_] = self._overriding.masks()[0]
        return mask

    def set_progress(self, progress: float) -> None:
        """Set the training progress, in [0, 1], from which the schedules give coefficients."""
        self._overriding.set_progress(progress)
        forward_progress(self.env, progress)

    def set_training(self, training: bool) -> None:
        """Switch advice and rewards on, from the next state, or off at once.

        Raises:
            InvalidOptionError: If it is no bool.
        """
        self._overriding.set_training(training)

    def stats(self) -> dict[str, Any]:
        """Return counters of steps, hits, overrides, agreements, skipped advice and conflicts."""
        return self._overriding.stats()

    def all_stats(self) -> dict[str, dict[str, Any]]:
        """Return the counters of this wrapper and of those below, by class name."""
        return gathered_stats(self)

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode: progress and counters."""
        return self._overriding.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it is the state of something else.
        """
        self._overriding.load_state_dict(state)

    def _look(self, observation: Any, *, over: bool) -> None:
        inner = None
        if is_maskable(self._overriding.space):
            method = find_below(self.env, "action_masks")
            inner = None if method is None else np.asarray(method())[None]
        self._overriding.see(inner)
        if over:
            self._overriding.forget(_STEPPED)
        else:
            batch = batch_of_one(self._base_space, observation)
            self._overriding.look(batch, [self._stream], _ROW)

    def _informed(self, info: Mapping[str, Any], reward: float, taken: Taken) -> dict[str, Any]:
        return {
            "extrinsic_reward": reward,
            "executed_action": self._shown(taken.executed),
            **info,
            "agent_action": self._shown(taken.agent),
            "overridden": bool(taken.overridden[0]),
            "critical": bool(taken.critical[0]),
            "implicit_reward": float(taken.implicit[0]),
        }

    def _shown(self, actions: NDArray[Any]) -> Any:
        discrete = isinstance(self._overriding.space, gym.spaces.Discrete)
        return int(actions[0]) if discrete else actions[0].copy()
