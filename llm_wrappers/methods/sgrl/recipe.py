"""SGRL (arXiv 2509.22008): goals in the observation, actions pruned by the goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.embeddings import Encoder
from llm_wrappers.errors import UnknownNameError
from llm_wrappers.guidance.artefact import GuidanceArtefact
from llm_wrappers.guidance.planners import Planner, PlannerFunction
from llm_wrappers.guidance.resolve import REFERENCES
from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers import ActionMaskWrapper, GoalObservationWrapper, vector

__all__ = ["DEPLOYMENTS", "deploy", "wrap"]

DEPLOYMENTS = ("guided", "goals", "unguided")


def wrap(
    env: Any,
    guidance: str | GuidanceArtefact | None = None,
    *,
    planner: str | Planner | PlannerFunction | None = None,
    masks: str | Mapping[str, Any] | None = None,
    goals: Sequence[str] | None = None,
    captioner: Captioner | None = None,
    encoder: str | Encoder = "one-hot",
    selection: str = "argmax",
    reselect: str = "every_step",
    schedule: float | Mapping[str, Any] | Schedule = 1.0,
    enforce: str = "mask",
) -> Any:
    """Stack SGRL's wrappers around an environment or a vector environment.

    Args:
        env: An environment, or a vector environment, whose twins are then used.
        guidance: A name or an artefact with both planner and masks; None for the reference
            guidance of the environment.
        planner: A planner in place of the one in `guidance`, for example for an ablation.
        masks: Masks in place of those in `guidance`.
        goals: The goal vocabulary; None for the one the environment describes.
        captioner: None for the environment's own.
        encoder: How a goal looks in the observation.
        selection: ``"argmax"`` (our choice: planners put what is urgent first) or ``"sample"``.
        reselect: ``"every_step"`` or ``"on_change"``.
        schedule: The probability that a goal's mask applies, over training progress. The default
            keeps it at 1 (the paper anneals it, with values that are not published).
        enforce: ``"mask"`` for MaskablePPO, ``"resample"`` or ``"penalty"`` for others.

    Returns:
        The wrapped environment.

    Raises:
        UnknownNameError: If no guidance is given and none ships for the environment.

    >>> import gymnasium as gym
    >>> env = wrap(
    ...     gym.make("CartPole-v1"), goals=["go left"], masks={"go left": [0]},
    ...     planner=lambda facts: [[("go left", 1.0)] for _ in facts],
    ... )
    >>> observation, info = env.reset(seed=0)
    >>> info["goal_text"], env.action_masks().tolist()
    ('go left', [True, False])
    """
    found_planner, found_masks = _guidance(env, guidance, planner, masks)
    wrappers = vector if isinstance(env, gym.vector.VectorEnv) else None
    with_goal = wrappers.GoalObservationWrapper if wrappers else GoalObservationWrapper
    with_mask = wrappers.ActionMaskWrapper if wrappers else ActionMaskWrapper
    env = with_goal(
        env,
        planner=found_planner,
        goals=goals,
        captioner=captioner,
        encoder=encoder,
        selection=selection,
        reselect=reselect,
    )
    return with_mask(env, masks=found_masks, schedule=schedule, enforce=enforce)


def deploy(
    env: Any, guidance: str | GuidanceArtefact | None = None, *, mode: str, **options: Any
) -> Any:
    """Stack SGRL's wrappers for a trained policy, with as much guidance as is wanted.

    Args:
        env: An environment, or a vector environment.
        guidance: As in `wrap`.
        mode: ``"guided"`` keeps planner and masks, which is how a policy trained with masks
            performs best and costs no language model call; ``"goals"`` keeps the goals and lifts
            the masks; ``"unguided"`` shows no goal and lifts the masks.
        options: As in `wrap`, except `schedule`.

    Raises:
        InvalidOptionError: If the mode is none of these.
    """
    checks.one_of("mode", mode, DEPLOYMENTS)
    if mode == "unguided":
        options["planner"] = "none"
    return wrap(env, guidance, schedule=1.0 if mode == "guided" else 0.0, **options)


def _guidance(
    env: Any,
    guidance: str | GuidanceArtefact | None,
    planner: str | Planner | PlannerFunction | None,
    masks: str | Mapping[str, Any] | None,
) -> tuple[Any, Any]:
    if planner is not None and masks is not None:
        return planner, masks
    if isinstance(guidance, GuidanceArtefact):
        found = guidance.planner() if planner is None else planner
        return found, guidance.masks if masks is None else masks
    name = guidance if guidance is not None else _reference_name(env)
    return name if planner is None else planner, name if masks is None else masks


def _reference_name(env: Any) -> str:
    env_id = resolve_captioner(env).description.env_id
    if env_id not in REFERENCES:
        raise UnknownNameError(
            f"no guidance was given, and none ships for {env_id or 'this environment'!r} (only for "
            f"{sorted(REFERENCES)}): give planner= and masks=, or guidance='file:FOLDER'"
        )
    return f"reference:{REFERENCES[env_id]}"
