"""`llm-wrappers write`: have a language model write guidance."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import gymnasium as gym

from llm_wrappers.cli import _write_ultra
from llm_wrappers.cli._options import (
    Commands,
    add_client_options,
    client_of,
    count,
    make_env,
    whole,
)
from llm_wrappers.errors import GuidanceFileError
from llm_wrappers.llm import LLM

__all__ = ["add_command"]

_PROMPTS = ["baseline", "zero-shot", "few-shot", "chain-of-thought", "role"]


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
    _add_sgrl(methods)
    _add_ellm(methods)
    _add_lmgt(methods)
    _write_ultra.add_method(methods)


def _add(methods: Commands, name: str, help_: str, description: str | None = None) -> Any:
    method = methods.add_parser(
        name,
        help=help_,
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    method.add_argument("--env", required=True, help="id of the environment")
    method.add_argument("--model", required=True, help="as litellm names it: openai/gpt-5-mini")
    return method


@contextmanager
def _asking(options: argparse.Namespace) -> Iterator[tuple[gym.Env[Any, Any], LLM]]:
    """Give the environment and the client, and say at the end what was used."""
    env = make_env(options.env)
    with client_of(options) as llm:
        try:
            yield env, llm
        finally:
            env.close()
            if len(llm.usage):
                print(f"{llm.usage}\n")


def _add_sgrl(methods: Commands) -> None:
    sgrl = _add(methods, "sgrl", "goal planner and action masks")
    sgrl.add_argument("--out", type=Path, required=True, help="folder for the guidance")
    sgrl.add_argument("--goals", nargs="+", default=None, metavar="GOAL", help="goal vocabulary")
    sgrl.add_argument("--states", type=count, default=300, help="situations to record by playing")
    sgrl.add_argument("--seed", type=int, default=0, help="seed of the playing")
    sgrl.add_argument("--repairs", type=whole, default=3, help="how often code may be sent back")
    sgrl.add_argument("--per-goal", action="store_true", help="ask for masks goal by goal")
    add_client_options(sgrl)
    sgrl.set_defaults(run=_write_sgrl)


def _write_sgrl(options: argparse.Namespace) -> int:
    from llm_wrappers.methods import sgrl

    with _asking(options) as (env, llm):
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
    repairs = artefact.provenance.authoring["repairs"]
    print(f"The planner passed its checks after {repairs} repairs. Everything is in {options.out}")
    return 0


def _add_ellm(methods: Commands) -> None:
    ellm = _add(
        methods,
        "ellm",
        "suggestions for the states of random play",
        "Play an environment at random and ask a language model what makes sense to do in each "
        "different state. The answers stay in the cache, where the wrappers find them. "
        "Interrupted or repeated, it pays only for what is missing.",
    )
    ellm.add_argument("--states", type=count, default=300, help="different states to ask about")
    ellm.add_argument("--steps", type=count, default=None, help="the most steps to play")
    ellm.add_argument("--seed", type=int, default=0, help="seed of the playing")
    ellm.add_argument("--prompt", default="ellm/open", choices=["ellm/open", "ellm/open-goals"])
    ellm.add_argument("--strict", action="store_true", help="read answers by ELLM's own rule")
    add_client_options(ellm)
    ellm.set_defaults(run=_write_ellm)


def _write_ellm(options: argparse.Namespace) -> int:
    from llm_wrappers.captions.resolve import resolve_captioner
    from llm_wrappers.methods import ellm

    with _asking(options) as (env, llm):
        suggester = ellm.LLMSuggester(
            llm, resolve_captioner(env).description, prompt=options.prompt, strict=options.strict
        )
        annotation = ellm.annotate(
            suggester, env, states=options.states, steps=options.steps, seed=options.seed
        )
    print(f"{annotation}\n\nThe answers are in {options.cache}. Train with the suggester")
    print(f"  {_suggester_name(options)}")
    return 0


def _suggester_name(options: argparse.Namespace) -> str:
    """Return the name whose questions have the same keys in the cache."""
    given = {
        "cache": options.cache,
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "prompt": None if options.prompt == "ellm/open" else options.prompt,
        "strict": "true" if options.strict else None,
    }
    query = urlencode(
        {name: value for name, value in given.items() if value is not None}, safe="/:"
    )
    return f"llm:{options.model}?{query}"


def _add_lmgt(methods: Commands) -> None:
    lmgt = _add(
        methods,
        "lmgt",
        "judgements of all actions in a small problem",
        "Ask a language model about every action in every state of a small discrete environment "
        "(Blackjack, FrozenLake), and save its judgements as a table with which training asks "
        "nobody. Interrupted or repeated, it pays only for what is missing.",
    )
    lmgt.add_argument("--out", type=Path, required=True, help="file for the table")
    lmgt.add_argument("--prompt", default="zero-shot", help="kind of prompt", choices=_PROMPTS)
    lmgt.add_argument("--rules", action="store_true", help="tell the model the rules")
    lmgt.add_argument(
        "--examples", type=Path, help="JSON file for few-shot: [[state, action, score], ...]"
    )
    lmgt.add_argument(
        "--audit-against", default=None, metavar="JUDGE", help='compare with a judge: "oracle"'
    )
    add_client_options(lmgt)
    lmgt.set_defaults(run=_write_lmgt)


def _write_lmgt(options: argparse.Namespace) -> int:
    from llm_wrappers.captions.resolve import resolve_captioner
    from llm_wrappers.guidance.judges import resolve_judge
    from llm_wrappers.methods import lmgt

    with _asking(options) as (env, llm):
        description = resolve_captioner(env).description
        oracle = options.audit_against
        if oracle is not None:
            oracle = resolve_judge(oracle, description=description)
        judge = lmgt.LLMJudge(
            llm,
            description,
            prompt=options.prompt,
            knowledge=options.rules,
            examples=_examples(options.examples),
        )
        table = lmgt.annotate(judge, env)
        quality = lmgt.audit_judge(table, *lmgt.questions_about(env), oracle=oracle)
    table.save(options.out)
    unreadable = int(judge.stats()["failures_parse"])
    print(f"{quality}\n{unreadable} answers could not be read and count as neutral")
    print(f"\nThe table is in {options.out}. Train with the judge\n  file:{options.out}")
    return 0


def _examples(path: Path | None) -> list[Any]:
    if path is None:
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GuidanceFileError(f"cannot read the examples in {path}: {error}") from error
    if not isinstance(found, list):
        raise GuidanceFileError(f"{path}: expected a JSON list of [state, action, score]")
    return found
