"""Rewards shifted by judgements of what the agent does (LMGT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from llm_wrappers.captions.captioner import Captioner, Facts, batch_infos
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.guidance.judge import Judge, JudgeFunction
from llm_wrappers.guidance.potential import Potential, PotentialFunction
from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers._goals_below import forward_progress, gathered_stats
from llm_wrappers.wrappers._shifting import Shifted, Shifting
from llm_wrappers.wrappers._streams import depth_of, make_stream
from llm_wrappers.wrappers.goal_observation import batch_of_one

__all__ = ["RewardShiftWrapper"]

_ROW = np.array([0])
_FRESH = np.array([True])


class RewardShiftWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds a judgement of the state and the action taken in it to the reward.

    Implements LMGT (arXiv 2409.04744): r + scale * judge(s, a), where s is the state *before* the
    step and the judgement is +1, 0 or -1. **That shift is not policy-invariant:** an agent can live
    off approval and never finish its task, the more so the larger scale / (1 - gamma) is compared
    with what the environment pays. ``mode="potential"`` is: it adds gamma * Phi(s') - Phi(s) (Ng,
    Harada and Russell, 1999), with Phi = 0 in terminal states, and leaves the best policy as it is.

    ``info`` has the reward of the environment (`extrinsic_reward`), what was added (`reward_shift`)
    and the `judgement`, 0 where there is none; at a reset all are 0.

    A judge that fails costs a step its judgement, not the run its life: it is counted in `stats`
    and a warning is issued once. `audit` says how good the judgements were.

    A vector version exists: `llm_wrappers.wrappers.vector.RewardShiftWrapper`.

    Args:
        env: The environment.
        judge: A judge; a function from `States` and n actions to n judgements; or a name:
            ``"reference"`` and ``"oracle"`` for classic control, Blackjack, FrozenLake, pocket
            watches, the household, RecSim and Pong, ``"file:TABLE.json"``, ``"llm:MODEL"``, and for
            ablations ``"anti-oracle"``,
            ``"noisy:0.2"``, ``"random"``, ``"constant:1"``, ``"none"``. With ``mode="potential"`` a
            potential: an object with ``values(states)``, a function, or ``"reference"``.
        captioner: Puts states into words; None for the environment's own, or a generic one.
        mode: ``"raw"``, as in the paper, or ``"potential"``.
        scale: What judgements are multiplied with, at least 0. The paper's sizes for its
            environments are not known to us; 1 is its rule.
        schedule: A coefficient on the scale: a number, a dict such as ``{"kind": "linear",
            "start": 1.0, "end": 0.0}``, or a callable of the training progress; with
            ``{"kind": "adaptive"}`` it falls where judgements do not pay, see `AdaptiveTrust`. In
            potential mode a changing coefficient belongs to the potential, so that the best policy
            stays, and trust is not needed.
        only: ``"negative"`` drops approval (safe where a goal is to be reached), ``"positive"``
            drops disapproval; None keeps both. Ours, as are the four options below.
        center: Whether the mean of all judgements so far is taken off, so that approval of
            everything adds nothing.
        consult_every: The judge is asked in each k-th step of an episode.
        consult_probability: With which probability it is asked: a number, or a schedule.
        gamma: The discount of the algorithm; required with ``mode="potential"``.
        audit_against: A second judge whose judgements are compared; None for none.
        training: False switches all of it off: rewards pass through and no judge is asked.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If a name is not known, or not for this environment.
        GuidanceFileError: If a file is missing or holds no table.

    >>> import gymnasium as gym
    >>> env = RewardShiftWrapper(gym.make("CartPole-v1"), judge="reference", scale=0.5)
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(1)
    >>> reward, info["extrinsic_reward"], info["judgement"]
    (0.5, 1.0, -1)
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        *,
        judge: str | Judge | JudgeFunction | Potential | PotentialFunction,
        captioner: Captioner | None = None,
        mode: str = "raw",
        scale: float = 1.0,
        schedule: float | Mapping[str, Any] | Schedule = 1.0,
        only: str | None = None,
        center: bool = False,
        consult_every: int = 1,
        consult_probability: float | Mapping[str, Any] | Schedule = 1.0,
        gamma: float | None = None,
        audit_against: str | Judge | JudgeFunction | None = None,
        training: bool = True,
    ) -> None:
        self._shifting = Shifting(
            1,
            captioner=resolve_captioner(env, captioner),
            judge=judge,
            mode=mode,
            scale=scale,
            schedule=schedule,
            gamma=gamma,
            audit_against=audit_against,
            training=training,
            only=only,
            center=center,
            consult_every=consult_every,
            consult_probability=consult_probability,
        )
        RecordConstructorArgs.__init__(
            self,
            judge=judge,
            captioner=captioner,
            mode=mode,
            scale=scale,
            schedule=schedule,
            only=only,
            center=center,
            consult_every=consult_every,
            consult_probability=consult_probability,
            gamma=gamma,
            audit_against=audit_against,
            training=training,
        )
        gym.Wrapper.__init__(self, env)
        self._base_space = env.observation_space
        self._depth = depth_of(env, type(self).__name__)
        self._stream = make_stream(None, type(self).__name__, self._depth)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; nothing is judged yet."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._stream = make_stream(seed, type(self).__name__, self._depth)
        self._shifting.move(self._facts(observation, info), _FRESH)
        return observation, self._informed(info, 0.0, Shifted.neutral(1))

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment and shift the reward by what is thought of the action."""
        # An environment may change the action it is given.
        judged = np.copy(action) if isinstance(action, np.ndarray) else action
        observation, reward, terminated, truncated, info = self.env.step(action)
        facts = self._facts(observation, info)
        ended = np.array([bool(terminated)])
        shifted = self._shifting.judge([judged], facts, _ROW, ended, [self._stream])
        over = ended | bool(truncated)
        self._shifting.returns.add([float(reward)], _ROW, over)
        info = self._informed(info, float(reward), shifted)
        if not self._shifting.is_identity:
            reward = float(reward) + float(shifted.shift[0])
        self._shifting.learn([info["extrinsic_reward"]], _ROW, over)
        self._shifting.move(facts)
        return observation, reward, bool(terminated), bool(truncated), info

    def env_description(self) -> EnvDescription:
        """Return what the captioner says of the environment below: its rules and action names."""
        return self._shifting.captioner.description

    def shaping_gamma(self) -> float | None:
        """Return the discount that the shaping assumes; None where it assumes none."""
        return self._shifting.gamma

    def set_progress(self, progress: float) -> None:
        """Set the training progress, in [0, 1], from which the schedules give coefficients."""
        self._shifting.set_progress(progress)
        forward_progress(self.env, progress)

    def set_training(self, training: bool) -> None:
        """Switch the shifts on or off; off, rewards pass through and no judge is asked.

        Raises:
            InvalidOptionError: If it is no bool.
        """
        self._shifting.set_training(training)

    def audit(self) -> dict[str, Any]:
        """Return how good the judgements were, as far as it can be known.

        The shares of approval, neutrality and disapproval, of consultations without a judgement,
        the failures, and with `audit_against` the agreement with that judge. A share of nothing is
        None.
        """
        return self._shifting.audit()

    def stats(self) -> dict[str, Any]:
        """Return counters of judgements and failures, the audit, and the present weight."""
        return self._shifting.stats()

    def all_stats(self) -> dict[str, dict[str, Any]]:
        """Return the counters of this wrapper and of those below, by class name."""
        return gathered_stats(self)

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode: progress, counters and the mean judgement."""
        return self._shifting.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it is the state of something else.
        """
        self._shifting.load_state_dict(state)

    def _facts(self, observation: Any, info: Mapping[str, Any]) -> Sequence[Facts]:
        batch = batch_of_one(self._base_space, observation)
        return self._shifting.captioner.facts(batch, batch_infos(info))

    def _informed(self, info: Mapping[str, Any], reward: float, shifted: Shifted) -> dict[str, Any]:
        return {
            "extrinsic_reward": reward,
            **info,
            "reward_shift": float(shifted.shift[0]),
            "judgement": int(shifted.judgement[0]),
        }
