"""From state texts to questions for one client, and from what it does to outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel

from llm_wrappers.errors import BatchError
from llm_wrappers.llm.answer import Answer
from llm_wrappers.llm.live._failures import Failed
from llm_wrappers.llm.request import Prompt

if TYPE_CHECKING:
    from llm_wrappers.llm.client import LLM

__all__ = ["Outcome", "Questions"]

Outcome: TypeAlias = "Answer[Any] | Failed"


@dataclass(frozen=True)
class Questions:
    """Asks one kind of question; only `ask_plainly` raises.

    Args:
        llm: The client.
        prompt: From a state's text to the prompt.
        schema: What a structured answer must fit; None for free text.
        purpose: Under which name the client counts the questions.
        prompt_version: The version of the prompt's template.
    """

    llm: LLM
    prompt: Callable[[str], Prompt]
    schema: type[BaseModel] | None
    purpose: str
    prompt_version: str

    def prompts(self, texts: Iterable[str]) -> tuple[dict[str, Prompt], dict[str, Outcome]]:
        """Return the prompts of the texts, and what happened where there is none."""
        prompts: dict[str, Prompt] = {}
        failed: dict[str, Outcome] = {}
        for text in texts:
            try:
                prompts[text] = self.prompt(text)
            except Exception as error:
                failed[text] = Failed("prompt", error)
        return prompts, failed

    def look_up(self, prompts: Sequence[Prompt]) -> list[Outcome | None]:
        """Return what the client's cache holds, None for the others."""
        try:
            return list(
                self.llm.look_up(
                    prompts,
                    schema=self.schema,
                    purpose=self.purpose,
                    prompt_version=self.prompt_version,
                )
            )
        except Exception as error:
            if len(prompts) == 1:
                return [Failed("look_up", error)]
            # One record that cannot be read must not hide the others.
            return [outcome for prompt in prompts for outcome in self.look_up([prompt])]

    def ask(self, prompt: Prompt) -> Outcome:
        """Return the answer to one prompt, asked for in the calling thread."""
        try:
            return self.llm.ask(
                prompt,
                schema=self.schema,
                purpose=self.purpose,
                prompt_version=self.prompt_version,
            )
        except BaseException as error:
            # In a thread of its own nobody would hear of it, not even of a SystemExit.
            return Failed("ask", error)

    def ask_many(self, prompts: Sequence[Prompt]) -> list[Outcome]:
        """Return the answers to several prompts, asked together."""
        try:
            return list(self._ask_many(prompts, progress_bar=False))
        except BatchError as batch:
            return [
                Failed("ask", batch.errors[place]) if place in batch.errors else answer
                for place, answer in enumerate(batch.answers)
            ]
        except Exception as error:
            # It ended the batch; what was answered before is in the cache.
            return [
                outcome if isinstance(outcome, Answer) else Failed("ask", error)
                for outcome in self.look_up(prompts)
            ]

    def ask_plainly(
        self, prompts: Sequence[Prompt], *, progress_bar: bool | None
    ) -> tuple[list[Answer[Any] | None], dict[int, Exception]]:
        """Return the answers and, by position, the errors; what ends a batch is raised."""
        try:
            return list(self._ask_many(prompts, progress_bar=progress_bar)), {}
        except BatchError as batch:
            return batch.answers, batch.errors

    def _ask_many(
        self, prompts: Sequence[Prompt], *, progress_bar: bool | None
    ) -> list[Answer[Any]]:
        return self.llm.ask_many(
            prompts,
            schema=self.schema,
            purpose=self.purpose,
            prompt_version=self.prompt_version,
            progress_bar=progress_bar,
            on_error="raise",
        )
