"""Questions to a model, each asked once, and what is read in the answers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from llm_wrappers.llm import LLM, Answer, LiveSource, Prompt
from llm_wrappers.llm.live.source import OnMiss
from llm_wrappers.methods._unreadable import Unreadable

__all__ = ["Scoring", "StateAndAction"]

T = TypeVar("T")


@dataclass(frozen=True)
class StateAndAction:
    """What a judge is asked about: the state in words or as a picture, and the action in words."""

    action: str
    caption: str = ""
    frame: str = ""


class Scoring(Generic[T]):
    """A `LiveSource` whose answers always mean something: what cannot be read is neutral.

    Args:
        llm: The client.
        prompt: From a question to the prompt.
        version: The version of the prompt's template.
        parse: From an answer's text to a value; None if it cannot be read.
        neutral: The value of an answer that cannot be read.
        expected: What an answer should end with, for the warning.
        purpose: Under which name the client counts the questions.
        on_miss: As in `LiveSource`.
        retry_failed_after: As in `LiveSource`.
        memory: More options of `LiveSource`, about what is kept in memory.
    """

    def __init__(
        self,
        llm: LLM,
        *,
        prompt: Callable[[Any], Prompt],
        version: str,
        parse: Callable[[str | None], T | None],
        neutral: T,
        expected: str,
        purpose: str,
        on_miss: OnMiss,
        retry_failed_after: float,
        **memory: Any,
    ) -> None:
        self.llm = llm
        self._prompt = prompt
        self._version = version
        self._parse = parse
        self._neutral = neutral
        self._purpose = purpose
        self._unreadable = Unreadable(f"that ends with {expected}", taken_as="neutral")
        self.source: LiveSource[T] = LiveSource(
            llm,
            prompt=prompt,
            parse=self._read,
            purpose=purpose,
            prompt_version=version,
            on_miss=on_miss,
            retry_failed_after=retry_failed_after,
            **memory,
        )

    def answers(self, questions: Sequence[Hashable]) -> list[T | None]:
        """Return the value of each question, None where there is no answer yet."""
        return self.source.answers(questions)

    def ask_all(self, questions: Sequence[Hashable], *, progress_bar: bool | None) -> list[T]:
        """Ask all questions and wait; the answers are in the client's cache.

        Raises:
            LLMWrappersError: As `LLM.ask_many` says.
        """
        distinct = list(dict.fromkeys(questions))
        answers = self.llm.ask_many(
            [self._prompt(question) for question in distinct],
            purpose=self._purpose,
            prompt_version=self._version,
            progress_bar=progress_bar,
        )
        values = dict(zip(distinct, map(self._read, answers), strict=True))
        return [values[question] for question in questions]

    def stats(self) -> dict[str, float]:
        """Return the counters of `LiveSource.stats`."""
        return self._unreadable.added_to(self.source.stats())

    def _read(self, answer: Answer[Any]) -> T:
        value = self._parse(answer.text)
        if value is None:
            self._unreadable.note(answer.text)
            return self._neutral
        return value
