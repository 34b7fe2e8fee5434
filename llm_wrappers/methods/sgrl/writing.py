"""From an environment and a model to a guidance artefact on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.guidance.artefact import GuidanceArtefact, Provenance, save_artefact
from llm_wrappers.llm import LLM
from llm_wrappers.methods.sgrl.mask_author import MaskDraft, write_masks
from llm_wrappers.methods.sgrl.planner_author import PlannerDraft, write_planner
from llm_wrappers.methods.sgrl.states import record_states

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
) -> GuidanceArtefact:
    """Have a model write planner and masks for an environment, and save them where they pass.

    Nothing is written unless the planner passes `validate_planner`. Interrupted, it goes on where
    it was: answers are in the client's cache.

    Args:
        env: The environment; it is played at random to see situations.
        llm: The client, with a cache.
        folder: Where the artefact goes; see `save_artefact`.
        goals: The goal vocabulary; None for the one the environment describes.
        captioner: None for the environment's own.
        states: How many situations to record.
        seed: The seed of the recording.
        repairs: How often the planner may be sent back.
        per_goal: Whether masks are asked for goal by goal.

    Raises:
        AuthoringError: If no planner passes the checks.
        InvalidOptionError: If the environment has no goals and none are given.
        LLMWrappersError: As `LLM.ask` says.
    """
    before = llm.usage
    captioner = resolve_captioner(env, captioner)
    description = captioner.description
    recorded = record_states(env, states=states, seed=seed, captioner=captioner)
    planner = write_planner(llm, description, recorded, goals=goals, repairs=repairs)
    masks = (
        write_masks(llm, description, goals=goals, per_goal=per_goal)
        if description.action_names
        else None
    )
    artefact = GuidanceArtefact(
        provenance=Provenance(
            author=llm.model,
            environment=description.env_id,
            prompt_sha256={**planner.prompt_sha256, **(masks.prompt_sha256 if masks else {})},
            usage=(llm.usage - before).as_dict(),
            authoring=_authoring(planner, masks),
        ),
        validation=planner.report.record() if planner.report else None,
        planner_source=planner.source,
        masks={goal: list(actions) for goal, actions in masks.masks.items()} if masks else None,
    )
    save_artefact(artefact, folder)
    return artefact


def _authoring(planner: PlannerDraft, masks: MaskDraft | None) -> dict[str, Any]:
    report = planner.report
    found: dict[str, Any] = {
        "repairs": planner.rounds,
        "failures": dict(planner.failures),
        "coverage": None if report is None else report.coverage,
        "never_proposed": [] if report is None else list(report.never_proposed),
    }
    if masks is not None:
        found["unknown_actions"] = masks.unknown_actions
        found["unknown_goals"] = masks.unknown_goals
        found["without_mask"] = masks.without_mask
    return found
