"""A request with the pydantic model that its answer must fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.request import Prompt, Request, as_messages
from llm_wrappers.llm.structured import answer_schema, parse_answer

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

    @classmethod
    def of(
        cls,
        model: str,
        prompt: Prompt,
        *,
        schema: type[BaseModel] | None,
        sample: int,
        prompt_version: str,
        params: Mapping[str, Any],
    ) -> Question:
        """Make a question from what the caller of the client gives.

        Raises:
            InvalidOptionError: If a part has a type that no request can hold.
        """
        try:
            request = Request(
                model=model,
                messages=as_messages(prompt),
                params=dict(params),
                answer_schema=None if schema is None else answer_schema(schema),
                sample=sample,
                prompt_version=prompt_version,
            )
            request.key  # noqa: B018 -- computed now, so that what JSON cannot hold is said here
        except (ValidationError, ValueError, TypeError) as error:
            if isinstance(error, InvalidOptionError):
                raise
            raise InvalidOptionError(
                f"a question must be plain JSON (texts, numbers, lists, dicts): {error}"
            ) from error
        return cls(request, schema)

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
