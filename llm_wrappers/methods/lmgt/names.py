"""Judges and potentials by name: ``"llm:MODEL?OPTIONS"``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.llm import LLM
from llm_wrappers.methods._client_options import client_and_options
from llm_wrappers.methods.lmgt.llm_judge import LLMJudge
from llm_wrappers.methods.lmgt.llm_potential import LLMPotential
from llm_wrappers.methods.lmgt.vision_judge import VisionJudge

__all__ = ["caption_judge", "judge", "potential", "vision_judge"]

_SHARED = ("knowledge", "on_miss", "retry_failed_after")
_OF_THE_JUDGE = (*_SHARED, "prompt", "examples")
_OF_THE_EYE = _OF_THE_JUDGE
_RULES = "rules"


def judge(rest: str, *, description: EnvDescription) -> LLMJudge:
    """Return the judge that a name ``"llm:MODEL?OPTIONS"`` stands for.

    Args:
        rest: What stands behind ``"llm:"``: a model, and options of `resolve_llm` and of `LLMJudge`
            (`prompt`, `knowledge`: ``rules`` or a text, `examples` as a JSON list, `on_miss`,
            `retry_failed_after`).
        description: Of the environment.

    Raises:
        InvalidOptionError: If an option is wrong or given twice.
        UnknownNameError: If there is no model.

    >>> toy = EnvDescription(env_id="Toy-v0", rules="Find the key.")
    >>> found = judge("openai/gpt-5-mini?prompt=role&knowledge=rules", description=toy)
    >>> found.llm.name
    'llm:openai/gpt-5-mini'
    """
    llm, options = _options(rest, _OF_THE_JUDGE)
    return LLMJudge(llm, description, **options)


def vision_judge(rest: str, *, description: EnvDescription) -> VisionJudge:
    """Return the judge that a name ``"llm-vision:MODEL?OPTIONS"`` stands for.

    Args:
        rest: What stands behind ``"llm-vision:"``: a model that sees, and options of `resolve_llm`
            and of `VisionJudge` (those of `judge`).
        description: Of the environment.

    Raises:
        InvalidOptionError: If an option is wrong or given twice.
        UnknownNameError: If there is no model.
    """
    llm, options = _options(rest, _OF_THE_EYE)
    return VisionJudge(llm, description, **options)


def caption_judge(rest: str, *, description: EnvDescription) -> VisionJudge:
    """Return the judge that a name ``"llm-caption:MODEL?OPTIONS"`` stands for.

    The model puts pictures into words, and then judges the words.

    Args:
        rest: As in `vision_judge`.
        description: Of the environment.

    Raises:
        InvalidOptionError: If an option is wrong or given twice.
        UnknownNameError: If there is no model.
    """
    llm, options = _options(rest, _OF_THE_EYE)
    return VisionJudge(llm, description, mode="caption", **options)


def potential(rest: str, *, description: EnvDescription) -> LLMPotential:
    """Return the potential that a name ``"llm:MODEL?OPTIONS"`` stands for.

    Args:
        rest: What stands behind ``"llm:"``: a model, and options of `resolve_llm` and of
            `LLMPotential` (`knowledge`: ``rules`` or a text, `on_miss`,
            `retry_failed_after`).
        description: Of the environment.

    Raises:
        InvalidOptionError: If an option is wrong or given twice.
        UnknownNameError: If there is no model.
    """
    llm, options = _options(rest, _SHARED)
    return LLMPotential(llm, description, **options)


def _options(rest: str, own: Collection[str]) -> tuple[LLM, dict[str, Any]]:
    llm, options = client_and_options(rest, own)
    if options.get("knowledge") == _RULES:
        options["knowledge"] = True
    return llm, options
