"""`llm-wrappers calibrate`: which cosine means "the same" to an encoder."""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym

from llm_wrappers.captions.batches import batch_of_one
from llm_wrappers.captions.captioner import Captioner, batch_infos
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.cli._arguments import Commands, count, make_env
from llm_wrappers.embeddings import calibrate, resolve_encoder
from llm_wrappers.errors import InvalidOptionError

__all__ = ["add_command"]


def add_command(commands: Commands) -> None:
    """Add the command to those that there are."""
    parser = commands.add_parser(
        "calibrate",
        help="choose a similarity threshold for an encoder and an environment",
        description="Play at random for a while, and compare what the environment says of each "
        "step with the goals. Prints the cosines and a threshold.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--encoder", default="hashing", help="name of an encoder")
    parser.add_argument("--env", required=True, help="id of the environment")
    parser.add_argument(
        "--goals", nargs="+", default=None, help="the goals; None for those the environment has"
    )
    parser.add_argument(
        "--match",
        nargs=2,
        action="append",
        default=None,
        metavar=("GOAL", "CAPTION"),
        help="a goal and a caption that mean the same; may be repeated",
    )
    parser.add_argument("--steps", type=count, default=500, help="steps to play")
    parser.add_argument("--seed", type=int, default=0, help="seed of the playing")
    parser.set_defaults(run=_calibrate)


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
