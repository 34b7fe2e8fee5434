"""Rewards of each sub-environment shifted by judgements of what the agent does (LMGT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.guidance.judge import Judge, JudgeFunction
from llm_wrappers.guidance.potential import Potential, PotentialFunction
from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers._goals_below import forward_progress, gathered_stats
from llm_wrappers.wrappers._shifting import Shifted, Shifting
from llm_wrappers.wrappers._streams import depth_of
from llm_wrappers.wrappers._transitions import listed_actions
from llm_wrappers.wrappers._trust_evidence import paid_by_the_environment
from llm_wrappers.wrappers.vector._episodes import Episodes
from llm_wrappers.wrappers.vector._facts import facts_after_reset, facts_reached, with_rewards

__all__ = ["RewardShiftWrapper"]


class RewardShiftWrapper(gym.vector.VectorWrapper):  # generic only from gymnasium 1.4
    """Adds a judgement of each state and the action taken in it to each reward.

    The twin of `llm_wrappers.RewardShiftWrapper`, whose documentation holds: sub-environment i,
    seeded with ``seed + i``, has the same rewards. The judge is asked for all sub-environments at
    once. Works in every autoreset mode; the step that only shows a new episode is not judged.

    Args:
        env: The vector environment.
        judge: A judge, or with ``mode="potential"`` a potential; an object, a function or a name.
        captioner: Puts states into words; None for the environment's own, or a generic one.
        mode: ``"raw"`` or ``"potential"``.
        scale: What judgements are multiplied with, at least 0.
        schedule: A coefficient on the scale over training progress; an adaptive one learns from the
            episodes of all sub-environments.
        only: ``"negative"``, ``"positive"`` or None.
        center: Whether the mean of all judgements so far is taken off.
        consult_every: The judge is asked in each k-th step of an episode.
        consult_probability: With which probability it is asked: a number, or a schedule.
        gamma: The discount of the algorithm; required with ``mode="potential"``.
        audit_against: A second judge whose judgements are compared; None for none.
        training: False switches all of it off.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If a name is not known, or not for this environment.
        GuidanceFileError: If a file is missing or holds no table.

    >>> import gymnasium as gym
    >>> envs = RewardShiftWrapper(
    ...     gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"),
    ...     judge="reference", scale=0.5,
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> observations, rewards, terminated, truncated, infos = envs.step(np.array([1, 0]))
    >>> rewards.tolist(), infos["judgement"].tolist()
    ([0.5, 1.5], [-1, 1])
    """

    batched_methods: frozenset[str] = frozenset()

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any],
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
        super().__init__(env)
        self._shifting = Shifting(
            env.num_envs,
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
        name = type(self).__name__
        self._episodes = Episodes(env, owner=name, depth=depth_of(env, name))
        self._all = np.arange(env.num_envs)

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
        captioner, known = self._shifting.captioner, self._shifting.facts
        facts = facts_after_reset(captioner, known, observations, infos, rows)
        self._shifting.move(facts, fresh)
        nothing = Shifted.neutral(self.num_envs)
        return observations, self._informed(infos, np.zeros(self.num_envs), nothing, fresh)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all sub-environments and shift the rewards by what is thought of the actions."""
        # Before the step, because an environment may change the actions it is given.
        listed = listed_actions(self.env.action_space, actions)
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        ended = np.asarray(terminated | truncated, dtype=np.bool_)
        waiting = self._episodes.waiting()
        fresh = self._episodes.advance(ended)
        paid = paid_by_the_environment(infos, rewards, ended)
        self._shifting.returns.add(rewards, np.flatnonzero(~waiting), ended)
        facts = self._shifting.captioner.facts(observations, infos)
        over = np.asarray(terminated, dtype=np.bool_)
        if self._episodes.same_step and fresh.any():
            shifted, infos = self._finish(listed, facts, rewards, infos, fresh, over)
        else:
            stepped = np.flatnonzero(~fresh)
            shifted = self._judged(listed, facts, stepped, over)
            infos = self._informed(infos, rewards, shifted, np.ones_like(fresh))
        if not self._shifting.is_identity:
            rewards = np.asarray(rewards, dtype=np.float64) + shifted.shift
        self._shifting.learn(paid, np.flatnonzero(~waiting), ended)
        self._shifting.move(facts, fresh)
        return observations, rewards, terminated, truncated, infos

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
        """Return how good the judgements were, as far as it can be known."""
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

    def _judged(
        self,
        actions: Sequence[Any],
        after: Sequence[Facts],
        rows: NDArray[np.intp],
        terminated: NDArray[np.bool_],
    ) -> Shifted:
        return self._shifting.judge(actions, after, rows, terminated, self._episodes.streams)

    def _finish(
        self,
        actions: Sequence[Any],
        facts: Sequence[Facts],
        rewards: NDArray[Any],
        infos: Mapping[str, Any],
        fresh: NDArray[np.bool_],
        terminated: NDArray[np.bool_],
    ) -> tuple[Shifted, dict[str, Any]]:
        """Judge a step after which some sub-environments show the next episode already."""
        rows = np.flatnonzero(fresh)
        space = self.env.single_observation_space
        reached = facts_reached(self._shifting.captioner, space, facts, infos, rows)
        shifted = self._judged(actions, reached, self._all, terminated)
        final = self._informed(infos["final_info"], rewards, shifted, fresh)
        shown = Shifted(np.where(fresh, 0.0, shifted.shift), np.where(fresh, 0, shifted.judgement))
        informed = self._informed(infos, np.where(fresh, 0.0, rewards), shown, np.ones_like(fresh))
        return shifted, {**informed, "final_info": final}

    def _informed(
        self,
        infos: Mapping[str, Any],
        rewards: NDArray[Any],
        shifted: Shifted,
        present: NDArray[np.bool_],
    ) -> dict[str, Any]:
        columns = {"reward_shift": shifted.shift, "judgement": shifted.judgement}
        return with_rewards(infos, rewards, columns, present)
