"""Live sources: a language model asked about states while an agent acts."""

from __future__ import annotations

import math
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from llm_wrappers import checks
from llm_wrappers.errors import BatchError, InvalidOptionError
from llm_wrappers.llm.answer import Answer
from llm_wrappers.llm.live._background import Background, Found
from llm_wrappers.llm.live._failures import Failed, Failures
from llm_wrappers.llm.request import Prompt

if TYPE_CHECKING:
    from llm_wrappers.llm.client import LLM

__all__ = ["ON_MISS", "LiveSource", "OnMiss"]

OnMiss = Literal["neutral", "block", "background"]
ON_MISS: tuple[OnMiss, ...] = ("neutral", "block", "background")
T = TypeVar("T")
Value = TypeVar("Value")


class LiveSource(Generic[T]):
    """Answers about states, from memory, from the client's cache, or from the model.

    Made for a wrapper: one call per step, with one question per sub-environment. A question is
    whatever the prompt is made from and can be hashed: a caption, or a small frozen dataclass. An
    answer of None means that there is none yet, and that the step runs without guidance. What fails
    in use is counted, warned of once, and tried again later; what the user got wrong (a key, a
    model, an option) raises at the first use. When the budget is spent, nothing more is asked.

    With ``"background"``, and with ``"neutral"`` while others fill the cache, guidance depends on
    when an answer arrives, so the seed alone does not reproduce a run. With a cache that holds
    all answers, as in a replay, it does.

    In one process a source is never copied; a copy in another process begins with an empty memory
    and the same client. Wrappers that share a source share its answers.

    Args:
        llm: The client; it stays the caller's to close.
        prompt: From a question to the prompt.
        parse: From an answer to what the wrapper needs; what it raises is a counted failure. By
            default the parsed object with a `schema`, and the text without.
        schema: What the model's answer must fit; None for free text.
        purpose: Under which name the client counts the questions.
        prompt_version: The version of the prompt's template.
        on_miss: What happens with a question that the cache lacks. ``"neutral"``: nothing is asked,
            and `missed` remembers the question for `ask_missed`. ``"block"``: the step waits for
            the answer. ``"background"``: the model is asked while the steps go on.
        memo_size: How many answers are kept in memory (our choice: 100,000).
        max_missed: How many questions `missed` remembers; the oldest go first (our choice: 10,000).
        max_pending: How many questions may wait for an answer in the background; others are neutral
            (our choice: 64).
        recheck_seconds: For how long a question that the cache lacked is not looked up again (our
            choice: 10).
        retry_failed_after: After how many seconds a question that failed is tried again (our
            choice: 60).

    Raises:
        InvalidOptionError: If an option has a value that cannot work.

    >>> from llm_wrappers.testing import ScriptedLLM
    >>> source = LiveSource(ScriptedLLM(["wood"]), prompt=str, purpose="goals", on_miss="block")
    >>> source.answers(["You see a tree.", "You see a tree."])
    ['wood', 'wood']
    >>> source.stats()["asked"]
    1
    """

    def __init__(
        self,
        llm: LLM,
        *,
        prompt: Callable[[Any], Prompt],
        parse: Callable[[Answer[Any]], T] | None = None,
        schema: type[BaseModel] | None = None,
        purpose: str,
        prompt_version: str = "",
        on_miss: OnMiss = "neutral",
        memo_size: int = 100_000,
        max_missed: int = 10_000,
        max_pending: int = 64,
        recheck_seconds: float = 10.0,
        retry_failed_after: float = 60.0,
    ) -> None:
        if not all(hasattr(llm, method) for method in ("ask", "ask_many", "look_up")):
            raise InvalidOptionError(
                f"expected a language model client, like LLM('openai/gpt-5-mini'), got {llm!r}"
            )
        for name, function in (("prompt", prompt), ("parse", parse or _text)):
            if not callable(function):
                raise InvalidOptionError(f"expected {name} as a function, got {function!r}")
        self.llm = llm
        self.on_miss: OnMiss = checks.one_of("on_miss", on_miss, ON_MISS)
        self._prompt = prompt
        self._parse: Callable[[Answer[Any]], T] = parse or (
            _text if schema is None else _parsed_object
        )
        self._options: dict[str, Any] = {
            "schema": schema,
            "purpose": purpose,
            "prompt_version": prompt_version,
        }
        self._memo_size: int = checks.whole("memo_size", memo_size, least=1)
        self._max_pending: int = checks.whole("max_pending", max_pending, least=1)
        self._recheck_seconds = _seconds("recheck_seconds", recheck_seconds)
        self._retry_failed_after = _seconds("retry_failed_after", retry_failed_after)
        self._missed: _Recent[None] = _Recent(checks.whole("max_missed", max_missed, least=1))
        self._begin()

    def _begin(self) -> None:
        self._memo: _Recent[T] = _Recent(self._memo_size)
        # Until when it is of no use to look a question up, or to ask it.
        self._no_look_up: _Recent[float] = _Recent(self._memo_size)
        self._no_asking: _Recent[float] = _Recent(self._memo_size)
        self._failures = Failures(str(self._options["purpose"]))
        self._is_stopped = False
        self._threads: Background | None = None
        self._counts = dict.fromkeys(_COUNTED, 0)

    def answers(self, questions: Sequence[Hashable]) -> list[T | None]:
        """Return one answer per sub-environment, None where there is none yet.

        Args:
            questions: About the states; equal ones are looked up, asked and parsed once.

        Raises:
            InvalidOptionError: If a question cannot be hashed.
            UserError: A key, model, cache or option is wrong, and asking has never worked yet.
            CacheMissError: In replay, if something that is not recorded had to be asked.
        """
        if isinstance(questions, str):
            raise InvalidOptionError(
                f"expected a list of questions, got {questions!r}; pass [question]"
            )
        self._take_in_arrivals()
        memo, counts = self._memo, self._counts
        try:
            absent = [question for question in dict.fromkeys(questions) if question not in memo]
        except TypeError:
            raise InvalidOptionError(
                f"expected questions that can be hashed, got {questions!r}"
            ) from None
        if absent:
            answers = self._with_gaps(questions, absent)
        else:
            answers = [memo.use(question) for question in questions]
            counts["memo_hits"] += len(questions)
        counts["steps"] += 1
        counts["texts"] += len(questions)
        return answers

    @property
    def missed(self) -> tuple[Hashable, ...]:
        """The questions that were met without an answer, and that only `ask_missed` asks."""
        return tuple(self._missed)

    def ask_missed(self, *, progress_bar: bool | None = None) -> int:
        """Ask all questions in `missed` now, wait, and return how many were answered.

        Args:
            progress_bar: As in `LLM.ask_many`.

        Raises:
            LLMWrappersError: As `LLM.ask_many` says.
            BatchError: Some have no answer, or one that cannot be parsed; the others are kept.
        """
        questions = list(self._missed)
        if not questions:
            return 0
        prompts = [self._prompt(question) for question in questions]
        self._counts["asked"] += len(questions)
        errors: dict[int, Exception] = {}
        try:
            answers = self.llm.ask_many(prompts, progress_bar=progress_bar, **self._options)
        except BatchError as batch:
            answers, errors = batch.answers, dict(batch.errors)
        self._is_stopped = False
        values: list[T | None] = [None] * len(questions)
        for place, answer in enumerate(answers):
            if answer is not None:
                try:
                    values[place] = self._keep(questions[place], answer)
                except Exception as error:
                    errors[place] = error
        self._counts["answered"] += len(questions) - len(errors)
        if errors:
            raise _batch_error(values, errors)
        return len(questions)

    def stats(self) -> dict[str, float]:
        """Return counters of steps, of questions by where their answer came from, and of asking.

        `texts` is the sum over all steps; `memo_hits`, `cache_hits` and `neutral` (no answer) are
        parts of it. `asked` and `answered` count questions, `dropped` those beyond `max_pending`,
        `failures` what failed, also by kind. `share_answered` is the share of `texts` that had an
        answer in time; `missed` and `pending` are how many there are now.
        """
        counts, failures, threads = self._counts, self._failures.counts, self._own_threads()
        return {
            **counts,
            "missed": len(self._missed),
            "pending": threads.unfinished if threads else 0,
            "failures": sum(failures.values()),
            **{f"failures_{kind}": number for kind, number in failures.items()},
            "share_answered": 1 - counts["neutral"] / counts["texts"] if counts["texts"] else 0.0,
        }

    def close(self, timeout: float = 5.0) -> None:
        """Drop what waits in the background, and wait for the answers that are under way.

        A later step begins anew.

        Args:
            timeout: The seconds to wait at most (our choice: 5).
        """
        threads = self._own_threads()
        if threads is not None:
            threads.close(timeout)

    def __copy__(self) -> LiveSource[T]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> LiveSource[T]:
        # Gymnasium deep-copies constructor arguments; a copy would begin without a memory.
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _OF_THIS_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def _take_in_arrivals(self) -> None:
        threads = self._own_threads()
        if threads is None:
            return
        for question, found in threads.arrivals():
            self._take({question: found}, stage="ask")
        if self._is_stopped:
            self._remember_missed(threads.cancel())

    def _with_gaps(
        self, questions: Sequence[Hashable], absent: Sequence[Hashable]
    ) -> list[T | None]:
        gaps, counts = set(absent), self._counts
        held = [question for question in questions if question not in gaps]
        # Taken out first: what is learned now may drop them from memory.
        known = {question: self._memo.use(question) for question in held}
        looked_up = self._look_up(absent)
        asked = self._meet_misses([question for question in absent if question not in looked_up])
        known.update(looked_up)
        known.update(asked)
        counts["memo_hits"] += len(held)
        counts["cache_hits"] += sum(question in looked_up for question in questions)
        counts["neutral"] += sum(question not in known for question in questions)
        return [known.get(question) for question in questions]

    def _look_up(self, questions: Iterable[Hashable]) -> dict[Hashable, T]:
        """Return what the cache holds of the questions that were not looked up just now."""
        prompts = self._prompts(self._no_look_up.passed(questions))
        found: dict[Hashable, Found] = {}
        outcomes = self._looked_up(list(prompts.values())) if prompts else []
        for question, outcome in zip(prompts, outcomes, strict=True):
            if outcome is None:
                self._failures.worked("look_up")
                self._no_look_up.put(question, time.monotonic() + self._recheck_seconds)
            else:
                found[question] = outcome
        return self._take(found, stage="look_up")

    def _looked_up(self, prompts: Sequence[Prompt]) -> list[Found | None]:
        try:
            return list(self.llm.look_up(prompts, **self._options))
        except Exception as error:
            if len(prompts) == 1:
                return [Failed("look_up", error)]
            # One record that cannot be read must not hide the others.
            return [outcome for prompt in prompts for outcome in self._looked_up([prompt])]

    def _meet_misses(self, missing: Iterable[Hashable]) -> dict[Hashable, T]:
        questions = self._no_asking.passed(missing)
        if self.on_miss == "neutral" or self._is_stopped:
            self._remember_missed(questions)
        elif self.on_miss == "block":
            return self._ask(questions)
        elif questions:
            self._submit(questions)
        return {}

    def _ask(self, questions: Sequence[Hashable]) -> dict[Hashable, T]:
        """Ask, wait, and return what was answered."""
        prompts = self._prompts(questions)
        if not prompts:
            return {}
        self._counts["asked"] += len(prompts)
        outcomes = self._asked(list(prompts.values()))
        return self._take(dict(zip(prompts, outcomes, strict=True)), stage="ask")

    def _asked(self, prompts: Sequence[Prompt]) -> list[Found]:
        try:
            return list(self.llm.ask_many(prompts, progress_bar=False, **self._options))
        except BatchError as batch:
            return [
                Failed("ask", batch.errors[place]) if place in batch.errors else answer
                for place, answer in enumerate(batch.answers)
            ]
        except Exception as error:
            # It ended the batch; what was answered before is in the cache.
            return [
                outcome if isinstance(outcome, Answer) else Failed("ask", error)
                for outcome in self._looked_up(prompts)
            ]

    def _submit(self, questions: Sequence[Hashable]) -> None:
        threads = self._own_threads() or self._new_threads()
        new = [question for question in questions if question not in threads.pending]
        accepted = new[: max(0, self._max_pending - len(threads.pending))]
        self._counts["dropped"] += len(new) - len(accepted)
        for question, prompt in self._prompts(accepted).items():
            self._counts["asked"] += 1
            threads.submit(question, prompt)

    def _own_threads(self) -> Background | None:
        return self._threads if self._threads is not None and self._threads.is_alive else None

    def _new_threads(self) -> Background:
        llm, options = self.llm, self._options

        # Not a method: the threads must not keep a source alive that nobody holds.
        def ask(prompt: Prompt) -> Found:
            try:
                return llm.ask(prompt, **options)
            except BaseException as error:
                # In a thread of its own nobody would hear of it, not even of a SystemExit.
                return Failed("ask", error)

        self._threads = Background(ask, workers=llm.concurrency)
        # Also runs at exit: what nobody waits for any more is not asked.
        weakref.finalize(self, self._threads.cancel)
        return self._threads

    def _prompts(self, questions: Iterable[Hashable]) -> dict[Hashable, Prompt]:
        """Return the prompts of the questions, without those that have none."""
        prompts: dict[Hashable, Prompt] = {}
        failed: dict[Hashable, Found] = {}
        for question in questions:
            try:
                prompts[question] = self._prompt(question)
            except Exception as error:
                failed[question] = Failed("prompt", error)
        if prompts:
            self._failures.worked("prompt")
        self._take(failed, stage="ask")
        return prompts

    def _take(
        self, outcomes: Mapping[Hashable, Found], *, stage: Literal["look_up", "ask"]
    ) -> dict[Hashable, T]:
        """Remember what was answered and return it; count what was not, or raise it."""
        values: dict[Hashable, T] = {}
        failed: dict[Hashable, Failed] = {}
        for question, outcome in outcomes.items():
            if isinstance(outcome, Failed):
                failed[question] = outcome
                continue
            self._failures.worked(stage)
            try:
                values[question] = self._keep(question, outcome)
            except Exception as error:
                failed[question] = Failed("parse", error)
        if stage == "ask":
            self._counts["answered"] += len(values)
        for question, failure in failed.items():
            self._note(question, failure)
        return values

    def _keep(self, question: Hashable, answer: Answer[Any]) -> T:
        value = self._parse(answer)
        self._memo.put(question, value)
        self._missed.discard(question)
        self._no_look_up.discard(question)
        return value

    def _note(self, question: Hashable, failed: Failed) -> None:
        self._failures.meet(failed)
        if failed.kind == "budget":
            self._remember_missed([question])
            if not self._is_stopped:
                self._is_stopped = True
                self._failures.budget_is_spent(failed.error)
            return
        until = time.monotonic() + self._retry_failed_after
        self._no_asking.put(question, until)
        if failed.stage != "ask":
            # The cache would give the same answer again.
            self._no_look_up.put(question, until)

    def _remember_missed(self, questions: Iterable[Hashable]) -> None:
        for question in questions:
            self._missed.put(question, None)


_COUNTED = (
    "steps", "texts", "memo_hits", "cache_hits", "neutral", "dropped", "asked", "answered",
)  # fmt: skip
_OF_THIS_PROCESS = (
    "_memo", "_no_look_up", "_no_asking", "_failures", "_is_stopped", "_threads", "_counts",
)  # fmt: skip


class _Recent(OrderedDict[Hashable, Value]):
    """Values of questions; at the bound, the one that was not used for the longest time goes."""

    # The default is for pickle, which sets the bound afterwards.
    def __init__(self, most: int = 1) -> None:
        super().__init__()
        self._most = most

    def put(self, question: Hashable, value: Value) -> None:
        self[question] = value
        self.move_to_end(question)
        if len(self) > self._most:
            self.popitem(last=False)

    def use(self, question: Hashable) -> Value:
        self.move_to_end(question)
        return self[question]

    def discard(self, question: Hashable) -> None:
        self.pop(question, None)

    def passed(self: _Recent[float], questions: Iterable[Hashable]) -> list[Hashable]:
        """Return the questions whose moment is over, or that have none."""
        now = time.monotonic()
        return [question for question in questions if self.get(question, now) <= now]


def _seconds(name: str, value: float) -> float:
    return value if value == math.inf else checks.number(name, value, least=0)


def _batch_error(values: Sequence[Any], errors: Mapping[int, Exception]) -> BatchError:
    first = errors[min(errors)]
    return BatchError(
        f"{len(errors)} of {len(values)} missed texts have no usable answer, the others are kept "
        f"(see .answers and .errors); the first: {type(first).__name__}: {first}",
        answers=values,
        errors=errors,
    )


def _parsed_object(answer: Answer[Any]) -> Any:
    return answer.parsed


def _text(answer: Answer[Any]) -> Any:
    return answer.text
