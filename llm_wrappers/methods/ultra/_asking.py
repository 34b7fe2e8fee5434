"""Many questions at once, where one without an answer does not end the others."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from llm_wrappers.errors import (
    BatchError,
    BudgetExceededError,
    GuidanceWarning,
    InvalidAnswerError,
    InvalidRequestError,
    LLMError,
)
from llm_wrappers.llm import LLM, Answer

__all__ = ["MISSING", "Asked", "ask_all"]

MISSING = ("unreadable", "failed", "over_budget")
"""Why a question has no answer."""

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Asked(Generic[Model]):
    """What became of some questions.

    Args:
        answers: The answers in the order of the questions, None where there is none.
        missing: Kind of `MISSING` -> how many questions have no answer because of it.
    """

    answers: list[Model | None]
    missing: Counter[str] = field(default_factory=Counter)


def ask_all(
    llm: LLM,
    prompts: Sequence[str],
    *,
    schema: type[Model],
    purpose: str,
    prompt_version: str,
    progress_bar: bool | None,
) -> Asked[Model]:
    """Ask everything, and say in one warning what has no answer.

    A spent budget ends it with the answers there are; asked again with more of it, only the rest is
    paid for. Ctrl-C does the same.

    Args:
        llm: The client.
        prompts: The questions.
        schema: The form of the answers.
        purpose: Under which name the client counts them.
        prompt_version: The version of the prompt's template.
        progress_bar: As in `LLM.ask_many`.

    Raises:
        UserError: As `LLM.ask_many` says, but for requests that the provider refuses.
    """
    options: dict[str, Any] = {
        "schema": schema, "purpose": purpose, "prompt_version": prompt_version,
    }  # fmt: skip
    try:
        found = llm.ask_many(prompts, progress_bar=progress_bar, **options)
    except BatchError as error:
        return _asked(error.answers, error.errors, purpose)
    except BudgetExceededError as error:
        found = llm.look_up(prompts, **options)
        errors = {place: error for place, answer in enumerate(found) if answer is None}
        return _asked(found, errors, purpose)
    except (LLMError, InvalidRequestError) as error:
        # All prompts are one and the same, and that one failed.
        return _asked([None] * len(prompts), dict.fromkeys(range(len(prompts)), error), purpose)
    return _asked(found, {}, purpose)


def _asked(
    answers: Sequence[Answer[Any] | None], errors: Mapping[int, Exception], purpose: str
) -> Asked[Any]:
    missing = Counter(_kind(error) for error in errors.values())
    if errors:
        counted = ", ".join(f"{missing[kind]} {kind.replace('_', ' ')}" for kind in MISSING)
        first = next(iter(errors.values()))
        used = "; the others are used, and are in the client's cache" * (len(errors) < len(answers))
        warnings.warn(
            f"{len(errors)} of {len(answers)} questions ({purpose}) have no answer: {counted}; the "
            f"first: {type(first).__name__}: {_shortened(str(first))}{used}: run it again to ask "
            "for the rest",
            GuidanceWarning,
            stacklevel=4,
        )
    return Asked([None if answer is None else answer.parsed for answer in answers], missing)


def _kind(error: Exception) -> str:
    if isinstance(error, BudgetExceededError):
        return "over_budget"
    return "unreadable" if isinstance(error, InvalidAnswerError) else "failed"


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]}..."
