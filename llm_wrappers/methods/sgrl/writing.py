"""From an environment and a model to a guidance artefact on disk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.guidance.artefact import GuidanceArtefact, Provenance, save_artefact
from llm_wrappers.llm import LLM
from llm_wrappers.methods.sgrl.mask_audit import MaskAudit, audit_masks
from llm_wrappers.methods.sgrl.mask_author import MaskDraft, write_masks
from llm_wrappers.methods.sgrl.planner_author import PlannerDraft, write_planner
from llm_wrappers.methods.sgrl.play import (
    GUIDED_STEPS_PER_STATE,
    Episode,
    record_episodes,
    record_states,
    states_of,
)
from llm_wrappers.sandbox import MontyRuntime

__all__ = ["write_guidance"]


def write_guidance(
    env: gym.Env[Any, Any],
    llm: LLM,
    folder: str | Path,
    *,
    goals: Sequence[str] | None = None,
    captioner: Captioner | None = None,
    states: int = 300,
    seed: int = 0,
    repairs: int = 3,
    per_goal: bool = False,
    guided_play: bool = True,
) -> GuidanceArtefact:
    """Have a model write planner and masks for an environment, and save them where they pass.

    Nothing is written unless the planner passes `validate_planner`, on states of random play and
    then, once, on states of play guided by the planner itself, which meets later ones. From this
    play comes the audit of the masks in the provenance; see `audit_masks`. Interrupted, it goes on
    where it was: answers are in the client's cache.

    Args:
        env: The environment; it is played to see situations.
        llm: The client, with a cache.
        folder: Where the artefact goes; see `save_artefact`.
        goals: The goal vocabulary; None for the one the environment describes.
        captioner: None for the environment's own.
        states: How many situations to record, of each kind of play.
        seed: The seed of the recording.
        repairs: How often the planner may be sent back.
        per_goal: Whether masks are asked for goal by goal.
        guided_play: Whether the environment is also played guided; it never is where the actions
            have no names or are not Discrete.

    Raises:
        AuthoringError: If no planner passes the checks.
        InvalidOptionError: If the environment has no goals and none are given.
        LLMWrappersError: As `LLM.ask` says.
    """
    before = llm.usage
    captioner = resolve_captioner(env, captioner)
    description = captioner.description
    recorded = record_states(env, states=states, seed=seed, captioner=captioner)
    ask_masks = partial(write_masks, llm, description, goals=goals, per_goal=per_goal)
    named = bool(description.action_names)
    masks: MaskDraft | None = None
    audit: MaskAudit | None = None
    episodes: list[Episode] = []

    def met_guided(source: str) -> list[dict[str, Any]]:
        # The masks are asked for here, so that a planner that never passes costs no more questions.
        nonlocal masks, episodes
        masks = ask_masks()
        with MontyRuntime(source) as first:
            episodes = record_episodes(
                env,
                steps=states * GUIDED_STEPS_PER_STATE,
                seed=seed,
                captioner=captioner,
                guided_by=(first, masks.masks),
                goals=goals,
            )
        return states_of(episodes, states=states)

    plays = guided_play and named and isinstance(env.action_space, gym.spaces.Discrete)
    planner = write_planner(
        llm,
        description,
        recorded,
        goals=goals,
        repairs=repairs,
        more_states=met_guided if plays else None,
    )
    if masks is not None:
        # Repairs may have changed the planner since the play.
        with MontyRuntime(planner.source) as last:
            audit = audit_masks(
                masks.masks, episodes, env=env, planner=last, captioner=captioner, goals=goals
            )
    elif named:
        masks = ask_masks()
    artefact = GuidanceArtefact(
        provenance=Provenance(
            author=llm.model,
            environment=description.env_id,
            prompt_sha256={**planner.prompt_sha256, **(masks.prompt_sha256 if masks else {})},
            usage=(llm.usage - before).as_dict(),
            authoring=_authoring(planner, masks, audit),
        ),
        planner_source=planner.source,
        masks={goal: list(actions) for goal, actions in masks.masks.items()} if masks else None,
    )
    save_artefact(artefact, folder)
    return artefact


def _authoring(
    planner: PlannerDraft, masks: MaskDraft | None, audit: MaskAudit | None
) -> dict[str, Any]:
    report = planner.report
    found: dict[str, Any] = {
        "repairs": planner.rounds,
        "failures": dict(planner.failures),
        "checked_states": 0 if report is None else report.recorded_states + report.extreme_states,
        "coverage": None if report is None else report.coverage,
        "never_proposed": [] if report is None else list(report.never_proposed),
    }
    if masks is not None:
        found["unknown_actions"] = masks.unknown_actions
        found["unknown_goals"] = masks.unknown_goals
        found["without_mask"] = masks.without_mask
    if audit is not None:
        found["mask_audit"] = audit.as_dict()
    return found
