"""What a language model said, what it cost, and what `LLM.ask` returns of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

__all__ = ["Answer", "Completion"]


class Completion(BaseModel):
    """One answer as it came from a provider; plain data, kept in the answer cache.

    Args:
        text: The answer.
        model: The model that answered, as the provider names it.
        prompt_tokens: Tokens of the prompt, as the provider counted them.
        completion_tokens: Tokens of the answer, those of hidden reasoning included.
        dollars: The price; None if nobody knows it.
        seconds: How long the answer took.
        finish_reason: Why the model stopped: ``"stop"``, ``"length"`` and so on.
        logprobs: A mapping per token (`token`, `logprob`, `top_logprobs`), where asked for.
        repairs: How often the model had to be asked to correct a structured answer. Tokens,
            dollars and seconds are the sum over all turns.

    >>> Completion(text="yes", prompt_tokens=12, completion_tokens=1).tokens
    13
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    text: str
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float | None = None
    seconds: float = 0.0
    finish_reason: str = "stop"
    logprobs: list[dict[str, JsonValue]] | None = None
    repairs: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of prompt and answer together."""
        return self.prompt_tokens + self.completion_tokens


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
