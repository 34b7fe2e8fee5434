"""What the methods share when they ask a model: wording, questions, answers, and names."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import unquote_plus

import numpy as np
from pydantic import BaseModel

from llm_wrappers.errors import (
    BatchError,
    BudgetExceededError,
    GuidanceWarning,
    InvalidAnswerError,
    InvalidOptionError,
    InvalidRequestError,
    LLMError,
)
from llm_wrappers.llm import LLM, Answer, LiveSource, Prompt, resolve_llm
from llm_wrappers.llm.prompt_template import PromptTemplate

__all__ = [
    "MISSING",
    "AnswerReader",
    "FilledPrompt",
    "Question",
    "action_in_words",
    "ask_tolerantly",
    "client_and_options",
    "from_text",
    "one_line",
    "plain",
]

MISSING = ("unreadable", "failed", "over_budget")
"""Why a question has no answer."""

_FAILURES = ("failures", "failures_parse")
_LONGEST_SHOWN = 80
_LONGEST_REASON = 300

T = TypeVar("T")
Asked = TypeVar("Asked", bound=Hashable)
Model = TypeVar("Model", bound=BaseModel)


def one_line(text: str) -> str:
    """Return a text without line breaks and repeated blanks, so that equal states look equal."""
    return " ".join(text.split())


def plain(name: str) -> str:
    """Return a name without regard to case, underscores, hyphens and repeated spaces."""
    return one_line(name.replace("_", " ").replace("-", " ").lower())


def action_in_words(action: Any, names: Sequence[str]) -> str:
    """Return the name of an action, or its numbers with three digits.

    >>> action_in_words(1, ("stick", "hit"))
    'hit'
    >>> action_in_words(np.array([0.12345, -1.0], np.float32), ())
    '0.123, -1'
    """
    values = np.asarray(action)
    if values.dtype.kind in "biu" and values.ndim == 0:
        index = int(values)
        return names[index] if 0 <= index < len(names) else f"action {index}"
    if values.dtype.kind in "biuf":
        return ", ".join(f"{value + 0.0:.3g}" for value in values.ravel().astype(float).tolist())
    return one_line(str(action))


class FilledPrompt:
    """A template of which only some blanks differ from question to question.

    Args:
        template: The template; raises `InvalidOptionError` if nothing fills one of its blanks.
        changing: The blanks that `fill` gets; the template must have them all.
        fixed: The values of all other blanks that it may have.

    """

    def __init__(
        self, template: PromptTemplate, *, changing: tuple[str, ...], fixed: Mapping[str, str]
    ) -> None:
        unknown = [name for name in template.blanks if name not in (*fixed, *changing)]
        missing = [name for name in changing if name not in template.blanks]
        if unknown or missing:
            raise InvalidOptionError(
                f"expected a prompt with the blanks {list(changing)}, and no others than these and "
                f"{list(fixed)}; got {list(template.blanks)}"
            )
        self.version = template.version
        self._template = template
        self._fixed = {name: fixed[name] for name in template.blanks if name in fixed}

    def fill(self, **values: str) -> str:
        """Return the prompt for the values of the changing blanks."""
        return self._template.fill(**self._fixed, **values)


@dataclass(frozen=True)
class Question:
    """What a model is asked about: a state in words or as a picture, and an action or a goal."""

    caption: str = ""
    action: str = ""
    goal: str = ""
    frame: str = ""


class AnswerReader(Generic[T]):
    """Asks questions and reads the answers; each is asked once, readable or not.

    Args:
        llm: The client.
        prompt: From a question to the prompt; questions are equal where their prompts are.
        version: The version of the prompt's template.
        read: From an answer to a value; None if it cannot be read.
        unreadable: The value of an answer that cannot be read.
        expected: What an answer should have been, for the warning.
        taken_as: What is done with an answer that cannot be read, for the warning.
        purpose: Under which name the client counts the questions.
        live: More options of `LiveSource`.
    """

    def __init__(
        self,
        llm: LLM,
        *,
        prompt: Callable[[Any], Prompt],
        version: str,
        read: Callable[[Answer[Any]], T | None],
        unreadable: T,
        expected: str,
        taken_as: str,
        purpose: str,
        **live: Any,
    ) -> None:
        self._llm = llm
        self._prompt = prompt
        self._asked_as: dict[str, Any] = {"purpose": purpose, "prompt_version": version}
        self._read = read
        self._unreadable = unreadable
        self._expected, self._taken_as = expected, taken_as
        self._unread = 0
        self.source: LiveSource[T] = LiveSource(
            llm, prompt=prompt, parse=self._value, **self._asked_as, **live
        )

    def answers(self, questions: Sequence[Hashable]) -> list[T | None]:
        """Return the value of each question, None where there is no answer yet."""
        return self.source.answers(questions)

    def ask_all(
        self, questions: Iterable[Asked], *, progress_bar: bool | None
    ) -> dict[Asked, Answer[Any]]:
        """Ask all questions, wait, and return the answers; raises as `LLM.ask_many`."""
        distinct = list(dict.fromkeys(questions))
        prompts = [self._prompt(question) for question in distinct]
        answers = self._llm.ask_many(prompts, progress_bar=progress_bar, **self._asked_as)
        return dict(zip(distinct, answers, strict=True))

    def values(self, questions: Sequence[Hashable], *, progress_bar: bool | None) -> list[T]:
        """Ask all questions, wait, and return their values; raises as `LLM.ask_many`."""
        answers = self.ask_all(questions, progress_bar=progress_bar)
        found = {question: self._value(answer) for question, answer in answers.items()}
        return [found[question] for question in questions]

    def stats(self) -> dict[str, float]:
        """Return the counters of `LiveSource.stats`, what was unreadable among the failures."""
        stats = self.source.stats()
        return {**stats, **{name: stats[name] + self._unread for name in _FAILURES}}

    def _value(self, answer: Answer[Any]) -> T:
        value = self._read(answer)
        if value is not None:
            return value
        self._unread += 1
        if self._unread == 1:
            # What matters stands at the end of an answer that reasons first.
            text = answer.text
            shown = text if len(text) <= _LONGEST_SHOWN else "…" + text[1 - _LONGEST_SHOWN :]
            warnings.warn(
                f"expected an answer of the model {self._expected}, got {shown!r}; such answers "
                f"are {self._taken_as}, not asked for again, and counted in stats(); said once",
                GuidanceWarning,
                stacklevel=2,
            )
        return self._unreadable


def from_text(parse: Callable[[str | None], T], answer: Answer[Any]) -> T:
    """Read the text of an answer; with `partial` it can be pickled, which no lambda can."""
    return parse(answer.text)


def ask_tolerantly(
    llm: LLM,
    prompts: Sequence[str],
    *,
    schema: type[Model],
    purpose: str,
    prompt_version: str,
    progress_bar: bool | None,
) -> tuple[list[Model | None], Counter[str]]:
    """Ask everything, and say in one warning what has no answer.

    A spent budget ends it with the answers there are; asked again with more of it, only the rest is
    paid for. Ctrl-C does the same.

    Returns:
        The answers in the order of the questions, None where there is none; and kind of `MISSING`
        -> how many have none because of it.

    Raises:
        UserError: As `LLM.ask_many` says, but for requests that the provider refuses.
    """
    options: dict[str, Any] = {
        "schema": schema, "purpose": purpose, "prompt_version": prompt_version,
    }  # fmt: skip
    errors: Mapping[int, Exception] = {}
    found: Sequence[Answer[Any] | None]
    try:
        found = llm.ask_many(prompts, progress_bar=progress_bar, **options)
    except BatchError as error:
        found, errors = error.answers, error.errors
    except BudgetExceededError as error:
        found = llm.look_up(prompts, **options)
        errors = {place: error for place, answer in enumerate(found) if answer is None}
    except (LLMError, InvalidRequestError) as error:
        # All prompts are one and the same, and that one failed.
        found = [None] * len(prompts)
        errors = dict.fromkeys(range(len(prompts)), error)
    missing = Counter(_kind(error) for error in errors.values())
    if errors:
        warnings.warn(_complaint(errors, missing, len(found), purpose), GuidanceWarning, 3)
    return [None if answer is None else answer.parsed for answer in found], missing


def _complaint(
    errors: Mapping[int, Exception], missing: Counter[str], questions: int, purpose: str
) -> str:
    counted = ", ".join(f"{missing[kind]} {kind.replace('_', ' ')}" for kind in MISSING)
    first = next(iter(errors.values()))
    reason = one_line(str(first))
    if len(reason) > _LONGEST_REASON:
        reason = f"{reason[:_LONGEST_REASON]}..."
    used = "; the others are used, and are in the client's cache" * (len(errors) < questions)
    return (
        f"{len(errors)} of {questions} questions ({purpose}) have no answer: {counted}; the "
        f"first: {type(first).__name__}: {reason}{used}: run it again to ask for the rest"
    )


def _kind(error: Exception) -> str:
    if isinstance(error, BudgetExceededError):
        return "over_budget"
    return "unreadable" if isinstance(error, InvalidAnswerError) else "failed"


def client_and_options(rest: str, own: Collection[str]) -> tuple[LLM, dict[str, Any]]:
    """Divide ``"MODEL?OPTION=VALUE&..."`` into a client and the options `own` of whoever uses it.

    >>> llm, options = client_and_options("openai/gpt-5-mini?seed=1&on_miss=block", ["on_miss"])
    >>> llm.name, options
    ('llm:openai/gpt-5-mini?seed=1', {'on_miss': 'block'})

    """
    model, _, query = rest.partition("?")
    options: dict[str, Any] = {}
    others = []
    for pair in query.split("&") if query else ():
        name, equals, value = pair.partition("=")
        if name == "timing":
            # It would be sent to the model as a parameter.
            raise InvalidOptionError(
                f"'llm:{model}' has no timing: write consult_every=N on the wrapper instead"
            )
        if not equals or name not in own:
            others.append(pair)
        elif name in options:
            raise InvalidOptionError(f"{name!r} is given twice behind 'llm:{model}'")
        else:
            options[name] = _json_or_text(unquote_plus(value))
    return resolve_llm(f"llm:{model}" + ("?" + "&".join(others) if others else "")), options


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
