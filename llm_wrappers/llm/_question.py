"""A request with the pydantic model that its answer must fit."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from llm_wrappers.llm.request import Request
from llm_wrappers.llm.structured.parsing import parse_answer

__all__ = ["Question"]


@dataclass(frozen=True)
class Question:
    """What is asked, and how the answer is read.

    Args:
        request: What is sent and what the answer is kept under.
        schema: The pydantic model of a structured answer; None for free text.
    """

    request: Request
    schema: type[BaseModel] | None

    @property
    def key(self) -> str:
        """The key under which the answer is kept."""
        return self.request.key

    def parse(self, text: str) -> BaseModel | None:
        """Return the structured answer in a text, None if free text was asked for.

        Raises:
            InvalidAnswerError: If no part of the text fits the schema.
        """
        return None if self.schema is None else parse_answer(text, self.schema)
