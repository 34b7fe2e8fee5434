"""A client as a live source sees it, with parameters for one kind of question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llm_wrappers.errors import BatchError, InvalidRequestError
from llm_wrappers.llm import LLM, Answer, Prompt

__all__ = ["AskingWith"]


class AskingWith:
    """Asks through a client with parameters of its own.

    Args:
        llm: The client.
        params: As in `LLM.ask`.
        hint: What to do if the provider refuses such a question.
    """

    def __init__(self, llm: LLM, params: Mapping[str, Any], *, hint: str) -> None:
        self._llm = llm
        self._params = dict(params)
        self._hint = hint

    @property
    def concurrency(self) -> int:
        """How many requests may be under way at once."""
        return self._llm.concurrency

    def ask(self, prompt: Prompt, **options: Any) -> Answer[Any]:
        """Return the answer to one prompt, as `LLM.ask` does."""
        with self._explained():
            return self._llm.ask(prompt, params=self._params, **options)

    def ask_many(self, prompts: Iterable[Prompt], **options: Any) -> list[Answer[Any]]:
        """Return the answers to many prompts, as `LLM.ask_many` does."""
        with self._explained():
            answers: list[Answer[Any]] = self._llm.ask_many(prompts, params=self._params, **options)
            return answers

    def look_up(self, prompts: Iterable[Prompt], **options: Any) -> list[Answer[Any] | None]:
        """Return the answers that are in the cache, as `LLM.look_up` does."""
        return self._llm.look_up(prompts, params=self._params, **options)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except InvalidRequestError as error:
            raise self._with_hint(error) from error
        except BatchError as batch:
            errors = {place: self._with_hint(error) for place, error in batch.errors.items()}
            raise BatchError(str(batch), answers=batch.answers, errors=errors) from batch

    def _with_hint(self, error: Exception) -> Exception:
        if type(error) is not InvalidRequestError:
            return error
        return InvalidRequestError(f"{error}. {self._hint}")
