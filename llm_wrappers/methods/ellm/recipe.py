"""ELLM (arXiv 2302.06692): a reward for doing what a language model suggests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.embeddings import Encoder
from llm_wrappers.errors import UnknownNameError
from llm_wrappers.guidance.resolve import REFERENCES
from llm_wrappers.guidance.suggesters import Suggester, SuggesterFunction
from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers import CaptionObservationWrapper, SimilarityRewardWrapper, vector

__all__ = ["wrap"]

_SUCCESS_KEYS = {"llm_wrappers/EllmCrafter-v1": "action_success"}
_OF_THE_ENVIRONMENT = "auto"


def wrap(
    env: Any,
    suggester: str | Sequence[str] | Suggester | SuggesterFunction | None = None,
    *,
    captioner: Captioner | None = None,
    encoder: str | Encoder = "hashing",
    caption_observation: bool = False,
    goals_in_observation: bool = False,
    reward_free: bool = True,
    threshold: float = 0.99,
    similarity_weight: float = 1.0,
    extrinsic_weight: float = 1.0,
    schedule: float | Mapping[str, Any] | Schedule = 1.0,
    novelty: bool = True,
    aliases: Sequence[Sequence[str]] | None = None,
    success_key: str | None = _OF_THE_ENVIRONMENT,
) -> Any:
    """Stack ELLM's wrappers around an environment or a vector environment.

    From the inside out: `SimilarityRewardWrapper`, then `CaptionObservationWrapper` where the
    policy reads captions. In the paper it does, and reads the goals too in one of two variants.

    Args:
        env: An environment, or a vector environment, whose twins are then used.
        suggester: What says which goals make sense: ``"llm:MODEL?cache=FILE"``, another name, an
            object, a function or a list of goals, see `SimilarityRewardWrapper`. None for the
            reference guidance of the environment, which is written by hand.
        captioner: None for the environment's own.
        encoder: Turns captions and goals into vectors, for the reward and for the observation.
        caption_observation: Whether the observation shows the vector of the state's caption.
        goals_in_observation: Whether the observation shows the vector of the suggestions.
        reward_free: True for pretraining, with the similarity in place of the reward; False for
            the similarity on top of it.
        threshold: What the similarity must be above; 0.99 is what ELLM's code uses for Crafter.
        similarity_weight: The weight of the similarity.
        extrinsic_weight: The weight of the environment's reward, if it is not `reward_free`.
        schedule: The coefficient on the similarity over training progress.
        novelty: Whether a goal pays only once per episode.
        aliases: Groups of goals that are achieved together, see `SimilarityRewardWrapper`.
        success_key: An entry of ``info`` that must be true for a reward, None for none;
            ``"auto"`` is ``"action_success"`` in `EllmCrafterEnv` and none elsewhere.

    Returns:
        The wrapped environment.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If a name is not known, or no suggester is given and no reference
            guidance ships for the environment.

    >>> import gymnasium as gym
    >>> env = wrap(
    ...     gym.make("FrozenLake-v1", is_slippery=False), ["go right"],
    ...     caption_observation=True, encoder="hashing:32",
    ... )
    >>> observation, info = env.reset(seed=0)
    >>> sorted(observation), info["similarity_reward"]
    (['caption', 'obs'], 0.0)
    """
    checks.flag("caption_observation", caption_observation)
    checks.flag("reward_free", reward_free)
    wrappers = vector if isinstance(env, gym.vector.VectorEnv) else None
    with_reward = wrappers.SimilarityRewardWrapper if wrappers else SimilarityRewardWrapper
    with_caption = wrappers.CaptionObservationWrapper if wrappers else CaptionObservationWrapper
    env_id = resolve_captioner(env, captioner).description.env_id
    rewarded = with_reward(
        env,
        suggester=_reference_name(env_id) if suggester is None else suggester,
        captioner=captioner,
        encoder=encoder,
        threshold=threshold,
        combine="replace" if reward_free else "add",
        similarity_weight=similarity_weight,
        extrinsic_weight=extrinsic_weight,
        schedule=schedule,
        novelty=novelty,
        aliases=aliases,
        success_key=_SUCCESS_KEYS.get(env_id)
        if success_key == _OF_THE_ENVIRONMENT
        else success_key,
        observe_goals=goals_in_observation,
    )
    if not caption_observation:
        return rewarded
    return with_caption(rewarded, captioner=captioner, encoder=encoder)


def _reference_name(env_id: str) -> str:
    if env_id not in REFERENCES:
        raise UnknownNameError(
            f"no suggester was given, and no reference guidance ships for "
            f"{env_id or 'this environment'!r} (only for {sorted(REFERENCES)}): give a suggester, "
            "for example 'llm:openai/gpt-5-mini?cache=answers.sqlite' or a list of goals"
        )
    return f"reference:{REFERENCES[env_id]}"
