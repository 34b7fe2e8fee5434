"""What `LLM.ask` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from llm_wrappers.llm.completion import Completion

__all__ = ["Answer"]

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Answer(Generic[Parsed]):
    """An answer of a language model.

    Args:
        completion: What the model said and what it cost when it was asked.
        key: The key of the request in the answer cache.
        parsed: The validated pydantic object, if a schema was given; else None.
        cached: Whether no model was asked for it this time.

    >>> Answer(Completion(text="yes"), key="0f3a").text
    'yes'
    """

    completion: Completion
    key: str
    parsed: Parsed = None  # type: ignore[assignment]  # None is what free text parses to
    cached: bool = False

    @property
    def text(self) -> str:
        """The answer as text."""
        return self.completion.text
