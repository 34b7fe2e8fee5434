"""The kinds of prompts of LMGT, and how they are filled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.prompt_template import PromptTemplate

__all__ = ["PROMPTS", "Example", "Prompts"]

Example: TypeAlias = "tuple[str, str, int]"

PROMPTS = ("baseline", "zero-shot", "few-shot", "chain-of-thought", "role")
_SCORES = {1: "+1", 0: "0", -1: "-1"}


class Prompts:
    """Fills a template, of which only some blanks differ from question to question.

    Args:
        prompt: The template, or the name of one in ``data/prompts/lmgt``.
        description: Fills the blanks `env_id` and `actions`, and the knowledge if it is True.
        changing: The blanks that `fill` gets; the template must have them all.
        knowledge: What the model is told of the task; None for nothing, True for the rules.
        examples: (state, action, score) triples.

    Raises:
        UnknownNameError: If no template of this name ships with the package.
        InvalidOptionError: If a blank is missing, nothing fills one, or an option would be unused.
    """

    def __init__(
        self,
        prompt: str | PromptTemplate,
        description: EnvDescription,
        *,
        changing: tuple[str, ...],
        knowledge: str | bool | None,
        examples: Sequence[Example] = (),
    ) -> None:
        template = _template(prompt)
        values = {
            "env_id": description.env_id,
            "actions": "\n".join(f"- {name}" for name in description.action_names),
            "knowledge": _knowledge_block(knowledge, description),
            "examples": _examples_block(examples),
        }
        _check_blanks(template, changing, tuple(values))
        for name in ("knowledge", "examples"):
            if values[name] and name not in template.blanks:
                raise InvalidOptionError(
                    f"{name} was given, and the prompt has no blank ${name} for it: leave it out, "
                    "or choose another prompt"
                )
        if "examples" in template.blanks and not examples:
            raise InvalidOptionError(
                'this prompt needs examples=[(state, action, score), ...], such as [("Your cards '
                'sum to 20 without a usable ace; the dealer shows a 5.", "hit", -1)]; got none'
            )
        self.version = template.version
        self._template = template
        self._values = {name: values[name] for name in template.blanks if name in values}

    def fill(self, **values: str) -> str:
        """Return the prompt for the values of the changing blanks."""
        return self._template.fill(**self._values, **values)


def _template(prompt: str | PromptTemplate) -> PromptTemplate:
    return prompt if isinstance(prompt, PromptTemplate) else PromptTemplate.packaged(_path(prompt))


def _path(prompt: Any) -> str:
    if not isinstance(prompt, str) or (prompt not in PROMPTS and not prompt.startswith("lmgt/")):
        raise InvalidOptionError(
            f"expected prompt among {list(PROMPTS)}, or a PromptTemplate, got {prompt!r}"
        )
    return prompt if prompt.startswith("lmgt/") else f"lmgt/{prompt}"


def _check_blanks(
    template: PromptTemplate, changing: tuple[str, ...], others: tuple[str, ...]
) -> None:
    unknown = [name for name in template.blanks if name not in (*changing, *others)]
    missing = [name for name in changing if name not in template.blanks]
    if unknown or missing:
        raise InvalidOptionError(
            f"expected a prompt with the blanks {list(changing)}, and no others than these and "
            f"{list(others)}; got {list(template.blanks)}"
        )


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


def _examples_block(examples: Sequence[Example]) -> str:
    return "\n\n".join(_example(example) for example in examples)


def _example(example: Any) -> str:
    is_triple = isinstance(example, tuple | list) and len(example) == 3
    if not is_triple or not all(isinstance(part, str) and part for part in example[:2]):
        raise InvalidOptionError(
            f"expected each example as (state in words, action in words, score), got {example!r}"
        )
    state, action, score = example
    if isinstance(score, bool) or score not in _SCORES:
        raise InvalidOptionError(f"expected the score of an example as -1, 0 or +1, got {score!r}")
    return f"State: {state}\nAction: {action}\nSCORE: {_SCORES[score]}"
