"""`llm-wrappers show`, `check` and `calibrate`: what guidance is, and whether it holds."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from llm_wrappers.captions.batches import batch_of_one
from llm_wrappers.captions.captioner import Captioner, batch_infos
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.cli._options import Commands, count, make_env
from llm_wrappers.embeddings import calibrate, resolve_encoder
from llm_wrappers.errors import GuidanceFileError, InvalidOptionError
from llm_wrappers.guidance.artefact import GuidanceArtefact, load_artefact
from llm_wrappers.sandbox import validate_planner

if TYPE_CHECKING:
    from llm_wrappers.methods.sgrl.mask_audit import MaskAudit

__all__ = ["add_commands"]

_WRONG = 1


def add_commands(commands: Commands) -> None:
    """Add the commands to those that there are."""
    show = commands.add_parser("show", help="summarise a guidance folder")
    show.add_argument("folder", type=Path)
    show.set_defaults(run=_show)
    check = commands.add_parser(
        "check",
        help="check a guidance folder on situations from real play",
        description="Read the planner, run it contained on situations recorded by random play and "
        "on made-up ones, and check the masks. If all holds, play guided by them, check the "
        "planner on what is met, and compare the masks with what the actions did. Exit status 1 "
        "if something is wrong.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    check.add_argument("folder", type=Path)
    check.add_argument("--env", default=None, help="id of the environment; None for the artefact's")
    check.add_argument("--states", type=count, default=300, help="situations to record by playing")
    check.add_argument("--seed", type=int, default=0, help="seed of the playing")
    check.set_defaults(run=_check)
    cosine = commands.add_parser(
        "calibrate",
        help="choose a similarity threshold for an encoder and an environment",
        description="Play at random for a while, and compare what the environment says of each "
        "step with the goals. Prints the cosines and a threshold.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    cosine.add_argument("--encoder", default="hashing", help="name of an encoder")
    cosine.add_argument("--env", required=True, help="id of the environment")
    cosine.add_argument(
        "--goals", nargs="+", default=None, help="the goals; None for those the environment has"
    )
    cosine.add_argument(
        "--match",
        nargs=2,
        action="append",
        default=None,
        metavar=("GOAL", "CAPTION"),
        help="a goal and a caption that mean the same; may be repeated",
    )
    cosine.add_argument("--steps", type=count, default=500, help="steps to play")
    cosine.add_argument("--seed", type=int, default=0, help="seed of the playing")
    cosine.set_defaults(run=_calibrate)


def _show(options: argparse.Namespace) -> int:
    artefact = load_artefact(options.folder)
    where = artefact.provenance
    print(f"environment   {where.environment}\nauthor        {where.author}")
    told = {**where.authoring, **_totals(where.usage)}
    audit = told.pop("mask_audit", None)
    for name, value in told.items():
        print(f"{name.replace('_', ' '):<13} {value}")
    if where.notes:
        print(f"notes         {where.notes}")
    lines = 0 if artefact.planner_source is None else len(artefact.planner_source.splitlines())
    print(f"planner       {lines} lines")
    for goal, actions in (artefact.masks or {}).items():
        print(f"mask          {goal}: {', '.join(map(str, actions))}")
    if audit is not None:
        from llm_wrappers.methods.sgrl.mask_audit import MaskAudit

        print(MaskAudit.from_dict(audit))
    return 0


def _totals(usage: Mapping[str, Any]) -> dict[str, Any]:
    total = usage.get("total", {})
    return {name: total[name] for name in ("calls", "dollars") if name in total}


def _check(options: argparse.Namespace) -> int:
    artefact = load_artefact(options.folder)
    env = make_env(options.env or artefact.provenance.environment)
    try:
        planner_holds = _check_planner(artefact, env, options)
        masks_hold = _check_masks(artefact, env)
        holds = planner_holds and masks_hold
        if holds and artefact.masks:
            holds = _check_guided(artefact, env, options)
    finally:
        env.close()
    print("everything holds" if holds else "something is wrong")
    return 0 if holds else _WRONG


def _check_planner(
    artefact: GuidanceArtefact, env: gym.Env[Any, Any], options: argparse.Namespace
) -> bool:
    from llm_wrappers.methods.sgrl import record_states

    if artefact.planner_source is None:
        print("planner: none in this artefact")
        return True
    goals = _goals(artefact, env)
    if not goals:
        raise GuidanceFileError("neither the environment nor the masks name goals to check against")
    states = record_states(env, states=options.states, seed=options.seed)
    report = validate_planner(artefact.planner_source, states, goals=goals)
    print(
        f"planner: {report.recorded_states} recorded and {report.extreme_states} made-up states; "
        f"{report.coverage:.0%} of the goals named; no goal in "
        f"{report.share_without_goal:.1%} of the states; "
        f"{report.median_milliseconds:.2f} ms per state"
    )
    if report.never_proposed:
        print(f"never named: {', '.join(report.never_proposed)}")
    if not report.ok:
        print(report.for_model())
    return report.ok


def _check_guided(
    artefact: GuidanceArtefact, env: gym.Env[Any, Any], options: argparse.Namespace
) -> bool:
    """Check what play guided by the artefact meets, and print how its masks fare there."""
    from llm_wrappers.methods.sgrl import play
    from llm_wrappers.methods.sgrl.mask_audit import audit_guide
    from llm_wrappers.methods.sgrl.play import Guide

    if not isinstance(env.action_space, gym.spaces.Discrete):
        print(f"guided play: none, it needs Discrete actions and these are {env.action_space}")
        return True
    captioner = resolve_captioner(env)
    # Without a planner the play is random, and only tells what the masks forbid.
    planner = "none" if artefact.planner_source is None else artefact.planner()
    guide = Guide(
        (planner, artefact.masks or {}),
        description=captioner.description,
        action_space=env.action_space,
        goals=_goals(artefact, env),
    )
    try:
        steps = options.states * play.GUIDED_STEPS_PER_STATE
        episodes = play.record_episodes(env, steps=steps, seed=options.seed, guided_by=guide)
        audit = audit_guide(guide, episodes, captioner)
    finally:
        guide.close()
    holds = True
    if artefact.planner_source is not None:
        states = play.states_of(episodes, states=options.states)
        report = validate_planner(artefact.planner_source, states, goals=guide.goals)
        holds = report.ok
        print(
            f"guided play: {report.recorded_states} states of {steps} steps, half of the episodes "
            f"guided; the planner failed in {audit.fallbacks / max(audit.transitions, 1):.1%}"
        )
        _print_goals(audit)
        if not holds:
            print(report.for_model())
    print(audit)
    return holds


def _print_goals(audit: MaskAudit) -> None:
    if audit.never_proposed:
        print(f"never proposed in this play: {', '.join(audit.never_proposed)}")
    if audit.never_reached:
        print(
            f"proposed, and not seen to be reached in {audit.transitions} steps: "
            f"{', '.join(audit.never_reached)}"
        )


def _goals(artefact: GuidanceArtefact, env: gym.Env[Any, Any]) -> tuple[str, ...]:
    return resolve_captioner(env).description.goals or tuple(artefact.masks or ())


def _check_masks(artefact: GuidanceArtefact, env: gym.Env[Any, Any]) -> bool:
    description = resolve_captioner(env).description
    holds = True
    for goal, actions in (artefact.masks or {}).items():
        named = [action for action in actions if isinstance(action, str)]
        unknown = sorted(set(named) - set(description.action_names))
        if not actions or unknown or (description.goals and goal not in description.goals):
            holds = False
            print(f"mask of {goal!r}: unknown goal, no action, or unknown actions {unknown}")
    print(f"masks: {len(artefact.masks or {})} goals")
    return holds


def _calibrate(options: argparse.Namespace) -> int:
    encoder = resolve_encoder(options.encoder)
    env = make_env(options.env)
    try:
        captioner = resolve_captioner(env)
        goals = options.goals or captioner.description.goals
        if not goals:
            raise InvalidOptionError(
                f"{options.env} describes no goals: pass them with --goals 'GOAL' 'GOAL'"
            )
        captions = _transitions(env, captioner, steps=options.steps, seed=options.seed)
    finally:
        env.close()
    matches = None if options.match is None else [(goal, text) for goal, text in options.match]
    result = calibrate(encoder, goals, captions, matches=matches)
    print(result)
    return 0


def _transitions(
    env: gym.Env[Any, Any], captioner: Captioner, *, steps: int, seed: int
) -> list[str]:
    """Return what the environment says of each step of random play."""
    env.action_space.seed(seed)
    captions: list[str] = []
    before = _facts(env, captioner, *env.reset(seed=seed))
    for _ in range(steps):
        action = env.action_space.sample()
        observation, _, terminated, truncated, info = env.step(action)
        after = _facts(env, captioner, observation, info)
        captions.extend(captioner.transition_captions(before, [action], after))
        before = after
        if terminated or truncated:
            before = _facts(env, captioner, *env.reset())
    return captions


def _facts(
    env: gym.Env[Any, Any], captioner: Captioner, observation: Any, info: dict[str, Any]
) -> Any:
    return captioner.facts(batch_of_one(env.observation_space, observation), batch_infos(info))
