"""What a live source knows about states, and how it comes to know more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

from llm_wrappers.errors import BatchError
from llm_wrappers.llm.answer import Answer
from llm_wrappers.llm.live._deferral import Deferral
from llm_wrappers.llm.live._failures import Failed, Failures
from llm_wrappers.llm.live._questions import Outcome, Questions
from llm_wrappers.llm.live._texts import RecentTexts
from llm_wrappers.llm.request import Prompt

__all__ = ["Knowledge"]

T = TypeVar("T")


class Knowledge(Generic[T]):
    """The memo over the client's cache over the model; belongs to one thread.

    Args:
        questions: How the client is asked.
        parse: From an answer to what is remembered.
        missed: Texts that wait for `ask_missed`.
        memo_size: How many parsed answers are remembered.
        recheck_seconds: How long a text that the cache lacked is not looked up again.
        retry_failed_after: How long a text that failed is not tried again.

    Attributes:
        memo: Text -> parsed answer.
        stopped: Whether the budget is spent, so that nothing more is asked.
        asked: How many questions were put to the client.
        answered: To how many of these there was a usable answer.
    """

    def __init__(
        self,
        questions: Questions,
        *,
        parse: Callable[[Answer[Any]], T],
        missed: RecentTexts[None],
        memo_size: int,
        recheck_seconds: float,
        retry_failed_after: float,
    ) -> None:
        self.memo: RecentTexts[T] = RecentTexts(most=memo_size)
        self.missed = missed
        self.failures = Failures(questions.purpose)
        self.stopped = False
        self.asked = self.answered = 0
        self._questions = questions
        self._parse = parse
        self._recheck_seconds = recheck_seconds
        self._retry_failed_after = retry_failed_after
        self._no_look_up = Deferral(most=memo_size)
        self._no_asking = Deferral(most=memo_size)

    def look_up(self, texts: Iterable[str]) -> dict[str, T]:
        """Return what the client's cache holds about texts that were not looked up just now."""
        prompts = self.prompts(self._no_look_up.ready(texts))
        if not prompts:
            return {}
        outcomes = self._questions.look_up(list(prompts.values()))
        found: dict[str, Outcome] = {}
        for text, outcome in zip(prompts, outcomes, strict=True):
            if outcome is None:
                self.failures.worked("look_up")
                self._no_look_up.put_off(text, seconds=self._recheck_seconds)
            else:
                found[text] = outcome
        return self.take(found, stage="look_up")

    def may_be_asked(self, texts: Iterable[str]) -> list[str]:
        """Return the texts that did not fail just now."""
        return self._no_asking.ready(texts)

    def remember_missed(self, texts: Iterable[str]) -> None:
        """Leave texts for `ask_missed`."""
        for text in texts:
            self.missed.put(text, None)

    def prompts(self, texts: Sequence[str]) -> dict[str, Prompt]:
        """Return the prompts of the texts, without those that have none."""
        prompts, failed = self._questions.prompts(texts)
        if prompts:
            self.failures.worked("prompt")
        self.take(failed, stage="ask")
        return prompts

    def ask(self, texts: Sequence[str]) -> dict[str, T]:
        """Ask about the texts, wait, and return what was answered."""
        prompts = self.prompts(texts)
        if not prompts:
            return {}
        self.asked += len(prompts)
        outcomes = self._questions.ask_many(list(prompts.values()))
        return self.take(dict(zip(prompts, outcomes, strict=True)), stage="ask")

    def take(
        self, outcomes: Mapping[str, Outcome], *, stage: Literal["look_up", "ask"]
    ) -> dict[str, T]:
        """Remember what was answered and return it; count what was not, or raise it.

        Raises:
            BaseException: What `Failures.meet` raises.
        """
        values: dict[str, T] = {}
        failed: dict[str, Failed] = {}
        for text, outcome in outcomes.items():
            if isinstance(outcome, Failed):
                failed[text] = outcome
                continue
            self.failures.worked(stage)
            try:
                values[text] = self._keep(text, outcome)
            except Exception as error:
                failed[text] = Failed("parse", error)
        if stage == "ask":
            self.answered += len(values)
        for text, failure in failed.items():
            self._note(text, failure)
        return values

    def ask_missed(self, progress_bar: bool | None) -> int:
        """Ask about the missed texts; see `LiveSource.ask_missed`."""
        texts = list(self.missed)
        if not texts:
            return 0
        prompts = [self._questions.prompt(text) for text in texts]
        self.asked += len(texts)
        answers, errors = self._questions.ask_plainly(prompts, progress_bar=progress_bar)
        self.stopped = False
        values: list[T | None] = [None] * len(texts)
        for place, answer in enumerate(answers):
            if answer is not None:
                try:
                    values[place] = self._keep(texts[place], answer)
                except Exception as error:
                    errors[place] = error
        self.answered += len(texts) - len(errors)
        if errors:
            raise _batch_error(values, errors)
        return len(texts)

    def _keep(self, text: str, answer: Answer[Any]) -> T:
        value = self._parse(answer)
        self.memo.put(text, value)
        self.missed.discard(text)
        self._no_look_up.forget(text)
        return value

    def _note(self, text: str, failed: Failed) -> None:
        self.failures.meet(failed)
        if failed.kind == "budget":
            self.remember_missed([text])
            if not self.stopped:
                self.stopped = True
                self.failures.budget_is_spent(failed.error)
            return
        self._no_asking.put_off(text, seconds=self._retry_failed_after)
        if failed.stage != "ask":
            # The cache would give the same answer again.
            self._no_look_up.put_off(text, seconds=self._retry_failed_after)


def _batch_error(values: Sequence[Any], errors: Mapping[int, Exception]) -> BatchError:
    first = errors[min(errors)]
    return BatchError(
        f"{len(errors)} of {len(values)} missed texts have no usable answer, the others are kept "
        f"(see .answers and .errors); the first: {type(first).__name__}: {first}",
        answers=values,
        errors=errors,
    )
