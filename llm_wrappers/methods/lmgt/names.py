"""Judges and potentials by name: ``"llm:MODEL?OPTIONS"``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.llm import LLM
from llm_wrappers.methods._asking import client_and_options
from llm_wrappers.methods.lmgt.llm_judge import LLMJudge
from llm_wrappers.methods.lmgt.llm_potential import LLMPotential
from llm_wrappers.methods.lmgt.vision_judge import VisionJudge

__all__ = ["caption_judge", "judge", "potential", "vision_judge"]

_SHARED = ("knowledge", "on_miss", "retry_failed_after")
_OF_THE_JUDGE = (*_SHARED, "prompt", "examples")
_RULES = "rules"


def judge(rest: str, *, description: EnvDescription) -> LLMJudge:
    """Return the judge that a name ``"llm:MODEL?OPTIONS"`` stands for.

    The options are those of `resolve_llm` and of `LLMJudge`: `knowledge` is ``rules`` or a text,
    `examples` a JSON list.

    >>> toy = EnvDescription(env_id="Toy-v0", rules="Find the key.")
    >>> found = judge("openai/gpt-5-mini?prompt=role&knowledge=rules", description=toy)
    >>> found.llm.name
    'llm:openai/gpt-5-mini'

    """
    llm, options = _options(rest, _OF_THE_JUDGE)
    return LLMJudge(llm, description, **options)


def vision_judge(rest: str, *, description: EnvDescription) -> VisionJudge:
    """Return the judge that a name ``"llm-vision:MODEL?OPTIONS"`` stands for, as `judge` does."""
    llm, options = _options(rest, _OF_THE_JUDGE)
    return VisionJudge(llm, description, **options)


def caption_judge(rest: str, *, description: EnvDescription) -> VisionJudge:
    """Return the judge of ``"llm-caption:MODEL?OPTIONS"``, which puts pictures into words first."""
    llm, options = _options(rest, _OF_THE_JUDGE)
    return VisionJudge(llm, description, mode="caption", **options)


def potential(rest: str, *, description: EnvDescription) -> LLMPotential:
    """Return the potential that a name ``"llm:MODEL?OPTIONS"`` stands for, as `judge` does."""
    llm, options = _options(rest, _SHARED)
    return LLMPotential(llm, description, **options)


def _options(rest: str, own: Collection[str]) -> tuple[LLM, dict[str, Any]]:
    llm, options = client_and_options(rest, own)
    if options.get("knowledge") == _RULES:
        options["knowledge"] = True
    return llm, options
