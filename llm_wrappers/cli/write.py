"""`llm-wrappers write`: have a language model write guidance."""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym

from llm_wrappers.cli._arguments import Commands, count
from llm_wrappers.llm import LLM, Budget

__all__ = ["add_command"]


def add_command(commands: Commands) -> None:
    """Add the command to those that there are."""
    write = commands.add_parser(
        "write",
        help="have a language model write guidance",
        description="Have a language model write guidance for an environment, check it, and save "
        "it as a folder that you can read, change and share. Answers are kept in a cache: "
        "interrupted or repeated, it pays only for what is missing.",
    )
    methods = write.add_subparsers(title="methods", required=True)
    sgrl = methods.add_parser(
        "sgrl",
        help="goal planner and action masks",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    sgrl.add_argument("--env", required=True, help="id of the environment")
    sgrl.add_argument("--model", required=True, help="as litellm names it: openai/gpt-5-mini")
    sgrl.add_argument("--out", type=Path, required=True, help="folder for the guidance")
    sgrl.add_argument("--goals", nargs="+", default=None, metavar="GOAL", help="goal vocabulary")
    sgrl.add_argument("--states", type=count, default=300, help="situations to record by playing")
    sgrl.add_argument("--seed", type=int, default=0, help="seed of the playing")
    sgrl.add_argument("--repairs", type=count, default=3, help="how often code may be sent back")
    sgrl.add_argument("--per-goal", action="store_true", help="ask for masks goal by goal")
    _add_client_options(sgrl)
    sgrl.set_defaults(run=_write_sgrl)


def _add_client_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", default="answers.sqlite", help="file or Redis URL for answers")
    parser.add_argument("--mode", default="record", choices=["record", "replay", "refresh", "off"])
    parser.add_argument("--api-base", default=None, help="address of a server of your own")
    parser.add_argument("--dollars", type=float, default=None, help="the most to spend")
    parser.add_argument("--calls", type=int, default=None, help="the most requests to send")
    parser.add_argument("--max-tokens", type=count, default=None, help="the longest answer")
    parser.add_argument("--temperature", type=float, default=None)
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds per answer")


def _client(options: argparse.Namespace) -> LLM:
    optional = {
        "api_base": options.api_base,
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
    }
    return LLM(
        options.model,
        cache=options.cache,
        mode=options.mode,
        timeout=options.timeout,
        budget=Budget(dollars=options.dollars, calls=options.calls),
        **{name: value for name, value in optional.items() if value is not None},
    )


def _write_sgrl(options: argparse.Namespace) -> int:
    from llm_wrappers.methods import sgrl

    env = gym.make(options.env)
    with _client(options) as llm:
        try:
            artefact = sgrl.write_guidance(
                env,
                llm,
                options.out,
                goals=options.goals,
                states=options.states,
                seed=options.seed,
                repairs=options.repairs,
                per_goal=options.per_goal,
            )
        finally:
            env.close()
            if len(llm.usage):
                print(f"{llm.usage}\n")
    repairs = artefact.provenance.authoring["repairs"]
    print(f"The planner passed its checks after {repairs} repairs. Everything is in {options.out}")
    return 0
