"""A reward for doing what was suggested, in each sub-environment (ELLM)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.embeddings import Encoder
from llm_wrappers.guidance.suggester import Suggester, SuggesterFunction
from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers._goal_rewards import GoalRewards, Outcome, checked_flag
from llm_wrappers.wrappers._goals_below import forward_progress, gathered_stats
from llm_wrappers.wrappers._reward_mix import RewardMix
from llm_wrappers.wrappers._success import checked_success_key, successes
from llm_wrappers.wrappers._transitions import listed_actions
from llm_wrappers.wrappers._trust_evidence import paid_by_the_environment
from llm_wrappers.wrappers.goal_observation import goal_observation_space
from llm_wrappers.wrappers.vector._episodes import Episodes
from llm_wrappers.wrappers.vector._facts import facts_after_reset, facts_reached, with_rewards

__all__ = ["SimilarityRewardWrapper"]


class SimilarityRewardWrapper(gym.vector.VectorWrapper):  # generic only from gymnasium 1.4
    """Rewards transitions of each sub-environment that do what was suggested before them.

    The twin of `llm_wrappers.SimilarityRewardWrapper`, whose documentation holds: sub-environment
    i, seeded with ``seed + i``, has the same rewards. The suggester and the encoder are asked for
    all sub-environments at once. Works in every autoreset mode; the step that only shows a new
    episode pays 0.

    Args:
        env: The vector environment.
        suggester: A suggester, a function, a list of goals or a name.
        captioner: Puts states and transitions into words; None for the environment's own, or a
            generic one.
        encoder: ``"hashing"``, another name, or an object with ``encode(texts)``.
        threshold: What the cosine must be above, in [-1, 1].
        combine: ``"replace"`` or ``"add"``.
        similarity_weight: The weight of the similarity, at least 0.
        extrinsic_weight: The weight of the reward of the layers below, with ``combine="add"``.
        schedule: The coefficient on the similarity over training progress; an adaptive one learns
            from the episodes of all sub-environments.
        novelty: Whether a goal pays only once per episode.
        aliases: Groups of goals that are achieved together; None for ELLM's, ``[]`` for none.
        success_key: An entry of the infos that must be true for a reward; None for none.
        observe_goals: Whether the observation shows the vector of the remaining suggestions.
        key: The key of that vector.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If a name is not known.
        GuidanceFileError: If a file is missing or is no planner.

    >>> import gymnasium as gym
    >>> from llm_wrappers.captions.generic import GenericCaptioner
    >>> lakes = gym.make_vec("FrozenLake-v1", num_envs=2, is_slippery=False)
    >>> envs = SimilarityRewardWrapper(
    ...     lakes,
    ...     suggester=["took action 2: obs changed from 0 to 1"],
    ...     captioner=GenericCaptioner(lakes.single_observation_space, lakes.single_action_space),
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> envs.step([2, 0])[1].tolist()
    [1.0, 0.0]
    """

    batched_methods = frozenset({"current_suggestions"})

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any],
        *,
        suggester: str | Sequence[str] | Suggester | SuggesterFunction,
        captioner: Captioner | None = None,
        encoder: str | Encoder = "hashing",
        threshold: float = 0.99,
        combine: str = "replace",
        similarity_weight: float = 1.0,
        extrinsic_weight: float = 1.0,
        schedule: float | Mapping[str, Any] | Schedule = 1.0,
        novelty: bool = True,
        aliases: Sequence[Sequence[str]] | None = None,
        success_key: str | None = None,
        observe_goals: bool = False,
        key: str = "suggestions",
    ) -> None:
        super().__init__(env)
        self._success_key = checked_success_key(success_key)
        self._mix = RewardMix(
            combine,
            own_weight=similarity_weight,
            extrinsic_weight=extrinsic_weight,
            schedule=schedule,
            n=env.num_envs,
        )
        self._rewards = GoalRewards(
            env.num_envs,
            captioner=resolve_captioner(env, captioner),
            suggester=suggester,
            encoder=encoder,
            threshold=threshold,
            novelty=novelty,
            aliases=aliases,
        )
        self._goal_space = (
            self._rewards.goal_space() if checked_flag("observe_goals", observe_goals) else None
        )
        self._key = key
        if self._goal_space is not None:
            self.single_observation_space = goal_observation_space(
                env.single_observation_space, key, self._goal_space
            )
            self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        # The owner and depth name random streams, and this wrapper draws nothing.
        self._episodes = Episodes(env, owner=type(self).__name__, depth=0)
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
        captioner, known = self._rewards.captioner, self._rewards.facts
        facts = facts_after_reset(captioner, known, observations, infos, rows)
        self._rewards.move(facts, np.flatnonzero(fresh), fresh)
        self._mix.evidence.begin(fresh)
        nothing = Outcome.neutral(self.num_envs)
        infos = self._informed(infos, np.zeros(self.num_envs), nothing, fresh)
        return self._shown(observations), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all sub-environments, reward what was suggested and have new goals suggested.

        Raises:
            IncompatibleEnvironmentError: If `success_key` is not in the infos.
        """
        # Before the step, because an environment may change the actions it is given.
        listed = listed_actions(self.env.action_space, actions)
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        ended = np.asarray(terminated | truncated, dtype=np.bool_)
        paid = paid_by_the_environment(infos, rewards, ended)
        stepped = np.flatnonzero(~self._episodes.waiting())
        fresh = self._episodes.advance(ended)
        facts = self._rewards.captioner.facts(observations, infos)
        if self._episodes.same_step and fresh.any():
            outcome, infos = self._finish(listed, facts, rewards, infos, fresh)
        else:
            outcome = self._go_on(listed, facts, infos, ended, fresh)
            infos = self._informed(infos, rewards, outcome, np.ones_like(fresh))
        if not self._mix.is_identity:
            rewards = self._mix.mix(np.asarray(rewards, dtype=np.float64), outcome.similarity)
        self._mix.learn(outcome.similarity, paid, stepped, ended)
        return self._shown(observations), rewards, terminated, truncated, infos

    def current_suggestions(self) -> list[tuple[str, ...]]:
        """Return the goals suggested for the current states, without those achieved."""
        return list(self._rewards.remaining)

    def env_description(self) -> EnvDescription:
        """Return what the captioner says of the environment below: its rules and action names."""
        return self._rewards.captioner.description

    def set_progress(self, progress: float) -> None:
        """Set the training progress, in [0, 1], from which the schedule gives c."""
        self._mix.set_progress(progress)
        forward_progress(self.env, progress)

    def stats(self) -> dict[str, Any]:
        """Return counters of steps, rewards, suggestions, failures and texts encoded, and c."""
        trust = self._mix.evidence.stats()
        return {**self._rewards.stats(), "coefficient": self._mix.coefficient, **trust}

    def all_stats(self) -> dict[str, dict[str, Any]]:
        """Return the counters of this wrapper and of those below, by class name."""
        return gathered_stats(self)

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode: the progress and the counters."""
        trust = self._mix.evidence.state_dict()
        return {"progress": self._mix.progress, **self._rewards.state_dict(), **trust}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it is the state of something else.
        """
        self._mix.evidence.require_fit(state)
        self._rewards.load_state_dict(state)
        self._mix.evidence.load_state_dict(state)
        self._mix.set_progress(state["progress"])

    def _go_on(
        self,
        actions: Sequence[Any],
        facts: Sequence[Facts],
        infos: Mapping[str, Any],
        ended: NDArray[np.bool_],
        fresh: NDArray[np.bool_],
    ) -> Outcome:
        """Judge a step after which each sub-environment shows the state it led to."""
        stepped = np.flatnonzero(~fresh)
        success = None
        if self._success_key is not None:
            success = np.zeros(self.num_envs, dtype=np.bool_)
            success[stepped] = successes(infos, self._success_key, stepped)
        outcome = self._rewards.judge(actions, facts, stepped, success)
        # Nobody acts in the last state of an episode, so that nothing is asked about it unless
        # it is shown.
        over = np.flatnonzero(ended) if self._goal_space is None else self._all[:0]
        self._rewards.move(facts, np.setdiff1d(self._all, over), fresh)
        self._rewards.leave(over)
        return outcome

    def _finish(
        self,
        actions: Sequence[Any],
        facts: Sequence[Facts],
        rewards: NDArray[Any],
        infos: Mapping[str, Any],
        fresh: NDArray[np.bool_],
    ) -> tuple[Outcome, dict[str, Any]]:
        """Judge a step after which some sub-environments show the next episode already."""
        rows = np.flatnonzero(fresh)
        space = self.env.single_observation_space
        reached = facts_reached(self._rewards.captioner, space, facts, infos, rows)
        outcome = self._rewards.judge(actions, reached, self._all, self._successes(infos, fresh))
        final: dict[str, Any] = {
            "final_info": self._informed(infos["final_info"], rewards, outcome, fresh)
        }
        if self._goal_space is None:
            self._rewards.move(facts, self._all, fresh)
        else:
            self._rewards.move(reached, self._all)
            final["final_obs"] = self._final_observations(infos["final_obs"], rows)
            self._rewards.move(facts, rows, fresh)
        shown = Outcome(
            np.where(fresh, 0.0, outcome.similarity),
            np.where(fresh, "", outcome.goals),
            np.where(fresh, "", outcome.captions),
        )
        informed = self._informed(infos, np.where(fresh, 0.0, rewards), shown, np.ones_like(fresh))
        return outcome, {**informed, **final}

    def _successes(
        self, infos: Mapping[str, Any], fresh: NDArray[np.bool_]
    ) -> NDArray[np.bool_] | None:
        if self._success_key is None:
            return None
        success = np.zeros(self.num_envs, dtype=np.bool_)
        for source, rows in (
            (infos, np.flatnonzero(~fresh)),
            (infos["final_info"], np.flatnonzero(fresh)),
        ):
            if len(rows):
                success[rows] = successes(source, self._success_key, rows)
        return success

    def _final_observations(self, final: Any, rows: NDArray[np.intp]) -> NDArray[np.object_]:
        joined = np.full(self.num_envs, None, dtype=object)
        shown = self._goal_vectors()
        for row in rows:
            joined[row] = self._joined(final[row], shown[row])
        return joined

    def _goal_vectors(self) -> NDArray[np.float32]:
        assert self._goal_space is not None
        return self._rewards.goal_vectors(self._goal_space.shape[0])

    def _shown(self, observations: Any) -> Any:
        if self._goal_space is None:
            return observations
        return self._joined(observations, self._goal_vectors())

    def _joined(self, observation: Any, vectors: NDArray[np.float32]) -> dict[str, Any]:
        if isinstance(observation, Mapping):
            return {**observation, self._key: vectors}
        return {"obs": observation, self._key: vectors}

    def _informed(
        self,
        infos: Mapping[str, Any],
        rewards: NDArray[Any],
        outcome: Outcome,
        present: NDArray[np.bool_],
    ) -> dict[str, Any]:
        columns = {
            "similarity_reward": outcome.similarity,
            "matched_goal": outcome.goals,
            "transition_caption": outcome.captions,
        }
        return with_rewards(infos, rewards, columns, present)
