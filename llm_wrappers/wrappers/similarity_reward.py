"""A reward for doing what was suggested (ELLM)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner, Facts, batch_infos
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.embeddings import Encoder
from llm_wrappers.guidance.suggester import Suggester, SuggesterFunction
from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers._goal_rewards import GoalRewards, Outcome, checked_flag
from llm_wrappers.wrappers._goals_below import forward_progress, gathered_stats
from llm_wrappers.wrappers._reward_mix import RewardMix
from llm_wrappers.wrappers._success import checked_success_key, successes
from llm_wrappers.wrappers.goal_observation import batch_of_one, goal_observation_space

__all__ = ["SimilarityRewardWrapper"]

_ROW = np.array([0])
_NO_ROW = np.array([], dtype=np.intp)
_FRESH = np.array([True])


class SimilarityRewardWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Rewards transitions that do what was suggested for the state before them.

    Implements the reward of ELLM (arXiv 2302.06692, algorithm 1): the largest cosine between the
    vectors of the transition's caption and of the suggested goals, if it is above a threshold,
    and 0 otherwise. The goals are those suggested for the state *before* the action, without the
    ones already achieved in this episode; of those above the threshold only the most similar one
    counts as achieved, the first one where several are equally similar.

    ``info`` has the reward of the environment (`extrinsic_reward`), the similarity that was
    rewarded (`similarity_reward`), the goal (`matched_goal`) and the caption
    (`transition_caption`); at a reset, and where nothing matched, 0.0 and the empty string.

    A suggester or an encoder that fails does not stop training: such states have no goals, such
    texts are similar to none; both are counted in `stats` and a warning is issued once.

    A vector version exists: `llm_wrappers.wrappers.vector.SimilarityRewardWrapper`.

    Args:
        env: The environment.
        suggester: A suggester; a function from `States` to one list of goals per state; a list of
            goals; or a name: ``"reference:crafter"``, ``"planner:NAME"``, ``"oracle"``,
            ``"uniform:K"``, ``"novelty"``, ``"fixed:collect wood|eat cow"``, ``"none"``.
        captioner: Puts states and transitions into words; None for the environment's own, or a
            generic one. Its `no_effect`, a set of texts, names the captions that match nothing.
        encoder: ``"hashing"``, another name, or an object with ``encode(texts)`` that returns
            unit vectors. With ``"hashing"`` only nearly equal texts pass the default threshold.
        threshold: What the cosine must be above, in [-1, 1]; 0.99 is what ELLM's code uses for
            Crafter. Cosines are rounded to six decimals, so nothing passes 1.
        combine: ``"replace"`` gives w c r, as ELLM does in pretraining; ``"add"`` gives
            v r_ext + w c r, where r_ext is the reward of the layers below.
        similarity_weight: w, at least 0.
        extrinsic_weight: v, at least 0; read with ``combine="add"`` only.
        schedule: c: a number, a dict such as ``{"kind": "linear", "start": 1.0, "end": 0.0}``, or
            a callable of the training progress, which `set_progress` sets; with
            ``{"kind": "adaptive"}`` and ``combine="add"`` it falls where reaching suggestions does
            not pay, see `AdaptiveTrust`.
        novelty: Whether a goal pays only once per episode.
        aliases: Groups of goals that are achieved together; None for the two pairs of ELLM's code
            (attack and eat cow, make and place crafting table), ``[]`` for none.
        success_key: An entry of ``info`` that must be true for a reward, such as
            ``"action_success"``; None to ask for none.
        observe_goals: Whether the observation shows the vector of the remaining suggestions, as
            one sentence; a Box becomes ``Dict(obs=..., suggestions=...)``. Zero for none.
        key: The key of that vector.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If a name is not known.
        GuidanceFileError: If a file is missing or is no planner.

    >>> import gymnasium as gym
    >>> from llm_wrappers.captions.generic import GenericCaptioner
    >>> lake = gym.make("FrozenLake-v1", is_slippery=False)
    >>> env = SimilarityRewardWrapper(
    ...     lake,
    ...     suggester=["took action 2: obs changed from 0 to 1"],
    ...     captioner=GenericCaptioner(lake.observation_space, lake.action_space),
    ... )
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(2)
    >>> reward, info["extrinsic_reward"], info["matched_goal"]
    (1.0, 0.0, 'took action 2: obs changed from 0 to 1')
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
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
        self._success_key = checked_success_key(success_key)
        self._mix = RewardMix(
            combine,
            own_weight=similarity_weight,
            extrinsic_weight=extrinsic_weight,
            schedule=schedule,
        )
        self._rewards = GoalRewards(
            1,
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
        space = env.observation_space
        if self._goal_space is not None:
            space = goal_observation_space(space, key, self._goal_space)
        RecordConstructorArgs.__init__(
            self,
            suggester=suggester,
            captioner=captioner,
            encoder=encoder,
            threshold=threshold,
            combine=combine,
            similarity_weight=similarity_weight,
            extrinsic_weight=extrinsic_weight,
            schedule=schedule,
            novelty=novelty,
            aliases=aliases,
            success_key=success_key,
            observe_goals=observe_goals,
            key=key,
        )
        gym.Wrapper.__init__(self, env)
        self.observation_space = space
        self._key = key
        self._base_space = env.observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment, forget what was achieved and have the first goals suggested."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._rewards.move(self._facts(observation, info), _ROW, _FRESH)
        self._mix.evidence.begin(_FRESH)
        return self._shown(observation), self._informed(info, 0.0, Outcome.neutral(1))

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment, reward what was suggested and have the next goals suggested.

        Raises:
            IncompatibleEnvironmentError: If `success_key` is not in the info.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        facts = self._facts(observation, info)
        outcome = self._rewards.judge([action], facts, _ROW, self._success(info))
        over = bool(terminated or truncated)
        # Nobody acts in the last state of an episode, so that nothing is asked about it unless
        # it is shown.
        self._rewards.move(facts, _NO_ROW if over and self._goal_space is None else _ROW)
        if over and self._goal_space is None:
            self._rewards.leave(_ROW)
        info = self._informed(info, float(reward), outcome)
        if not self._mix.is_identity:
            reward = float(self._mix.mix(float(reward), outcome.similarity[0]))
        paid = [info["extrinsic_reward"]]
        self._mix.learn(outcome.similarity, paid, _ROW, np.array([over]))
        return self._shown(observation), reward, bool(terminated), bool(truncated), info

    def current_suggestions(self) -> tuple[str, ...]:
        """Return the goals suggested for the current state, without those achieved."""
        return self._rewards.remaining[0]

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

    def _facts(self, observation: Any, info: Mapping[str, Any]) -> Sequence[Facts]:
        batch = batch_of_one(self._base_space, observation)
        return self._rewards.captioner.facts(batch, batch_infos(info))

    def _success(self, info: Mapping[str, Any]) -> NDArray[np.bool_] | None:
        if self._success_key is None:
            return None
        return successes(batch_infos(info), self._success_key, _ROW)

    def _shown(self, observation: Any) -> Any:
        if self._goal_space is None:
            return observation
        vector = self._rewards.goal_vectors(self._goal_space.shape[0])[0]
        if isinstance(observation, Mapping):
            return {**observation, self._key: vector}
        return {"obs": observation, self._key: vector}

    def _informed(self, info: Mapping[str, Any], reward: float, outcome: Outcome) -> dict[str, Any]:
        return {
            "extrinsic_reward": reward,
            **info,
            "similarity_reward": float(outcome.similarity[0]),
            "matched_goal": outcome.goals[0],
            "transition_caption": outcome.captions[0],
        }
