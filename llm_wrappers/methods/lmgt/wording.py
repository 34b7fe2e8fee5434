"""What LMGT shows to a model, and how scores are read in what it answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods._asking import FilledPrompt

__all__ = ["PROMPTS", "Example", "judge_prompt", "parse_number", "parse_score"]

Example: TypeAlias = "tuple[str, str, int]"

PROMPTS = ("baseline", "zero-shot", "few-shot", "chain-of-thought", "role")
_WRITTEN = {1: "+1", 0: "0", -1: "-1"}

_LABEL = re.compile(r"(?<!\w)score[ \t*_`]*:", re.IGNORECASE)
_AROUND = " \t\r*_`."
_MINUS = "\u2212"
_SCORES = {"+1": 1, "1": 1, "0": 0, "-1": -1}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_THINKING, _THOUGHT = "<think>", "</think>"


def judge_prompt(
    prompt: str | PromptTemplate,
    description: EnvDescription,
    *,
    changing: tuple[str, ...],
    knowledge: str | bool | None,
    examples: Sequence[Example] = (),
) -> FilledPrompt:
    """Return a template, or one of `PROMPTS`, in which only the `changing` blanks are left.

    The description fills `env_id` and `actions`, and the knowledge if that is True. Says so where
    an option would not be seen by the model.

    """
    template = _template(prompt)
    fixed = {
        "env_id": description.env_id,
        "actions": "\n".join(f"- {name}" for name in description.action_names),
        "knowledge": _knowledge_block(knowledge, description),
        "examples": "\n\n".join(_example(example) for example in examples),
    }
    found = FilledPrompt(template, changing=changing, fixed=fixed)
    for name in ("knowledge", "examples"):
        if fixed[name] and name not in template.blanks:
            raise InvalidOptionError(
                f"{name} was given, and the prompt has no blank ${name} for it: leave it out, "
                "or choose another prompt"
            )
    if "examples" in template.blanks and not examples:
        raise InvalidOptionError(
            'this prompt needs examples=[(state, action, score), ...], such as [("Your cards '
            'sum to 20 without a usable ace; the dealer shows a 5.", "hit", -1)]; got none'
        )
    return found


def _template(prompt: Any) -> PromptTemplate:
    if isinstance(prompt, PromptTemplate):
        return prompt
    if not isinstance(prompt, str) or (prompt not in PROMPTS and not prompt.startswith("lmgt/")):
        raise InvalidOptionError(
            f"expected prompt among {list(PROMPTS)}, or a PromptTemplate, got {prompt!r}"
        )
    return PromptTemplate.packaged(prompt if prompt.startswith("lmgt/") else f"lmgt/{prompt}")


def _knowledge_block(knowledge: str | bool | None, description: EnvDescription) -> str:
    if knowledge is None or knowledge is False:
        return ""
    text = description.rules if knowledge is True else knowledge
    if not isinstance(text, str) or not text.strip():
        raise InvalidOptionError(
            "expected knowledge as a text, True for the rules of the environment, or None, got "
            f"{knowledge!r}"
        )
    return f"# What is known about the task\n\n{text.strip()}\n\n"


def _example(example: Any) -> str:
    is_triple = isinstance(example, tuple | list) and len(example) == 3
    if not is_triple or not all(isinstance(part, str) and part for part in example[:2]):
        raise InvalidOptionError(
            f"expected each example as (state in words, action in words, score), got {example!r}"
        )
    state, action, score = example
    if isinstance(score, bool) or score not in _WRITTEN:
        raise InvalidOptionError(f"expected the score of an example as -1, 0 or +1, got {score!r}")
    return f"State: {state}\nAction: {action}\nSCORE: {_WRITTEN[score]}"


def parse_score(answer: str | None) -> int | None:
    r"""Return the judgement in an answer: -1, 0 or +1; None for an answer that cannot be read.

    The last ``SCORE:`` of the answer counts, in any case, with nothing but ``+1``, ``1``, ``0`` or
    ``-1`` (with a hyphen or a minus sign) on the rest of its line; bold type and a full stop do no
    harm. Numbers anywhere else are never read: a model that thinks aloud writes many. How the paper
    reads answers is not known; this rule is ours.

    Args:
        answer: The text; None, where a provider gave none, cannot be read.

    >>> parse_score("A push to the left, -1, would be worse.\n**SCORE: +1**")
    1
    >>> parse_score("SCORE: 7") is None
    True
    """
    found = _scored(answer)
    return None if found is None else _SCORES.get(found)


def parse_number(answer: str | None) -> float | None:
    """Return the number from -1 to 1 in an answer; None for an answer that cannot be read.

    The line is found as by `parse_score`. A number outside of the range cannot be read.

    Args:
        answer: The text.

    >>> parse_number("SCORE: -0.25")
    -0.25
    >>> parse_number("SCORE: 80") is None
    True
    """
    found = _scored(answer)
    if found is None or not _NUMBER.fullmatch(found):
        return None
    number = float(found)
    return number if -1.0 <= number <= 1.0 else None


def _scored(answer: str | None) -> str | None:
    """Return what stands behind the last label of the part that is no thinking."""
    said = (answer or "").rpartition(_THOUGHT)[2].partition(_THINKING)[0]
    labels = list(_LABEL.finditer(said))
    if not labels:
        return None
    line = said[labels[-1].end() :].partition("\n")[0]
    return line.strip(_AROUND).replace(_MINUS, "-")
