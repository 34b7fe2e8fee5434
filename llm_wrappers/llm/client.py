"""The client: the one way in which this package talks to a language model."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Literal, overload

from pydantic import BaseModel
from typing_extensions import TypeVar

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm._asking import Asker, Recall
from llm_wrappers.llm._batch import Batch
from llm_wrappers.llm._exchange import Line
from llm_wrappers.llm._questions import Questions, TypedRequest, check_params
from llm_wrappers.llm.answer import Answer
from llm_wrappers.llm.budget import Budget
from llm_wrappers.llm.cache import Cache, open_store
from llm_wrappers.llm.ledger import Ledger, Spending
from llm_wrappers.llm.provider.connection import Connection, split_params
from llm_wrappers.llm.provider.litellm_transport import LiteLLMTransport
from llm_wrappers.llm.request import Prompt
from llm_wrappers.llm.transport import Transport
from llm_wrappers.llm.usage import Usage, UsageMeter, checked_purpose

__all__ = ["LLM", "MODES", "Mode"]

Mode = Literal["record", "replay", "refresh", "off"]
MODES: tuple[Mode, ...] = ("record", "replay", "refresh", "off")
Model = TypeVar("Model", bound=BaseModel, default=Any)

_LEASE_MARGIN = 30.0


class LLM:
    """Asks a language model: each question once, within a budget, with the answers kept.

    Any provider that litellm reaches works. Nothing is imported, opened or sent before the first
    question. A client may be used from many threads; copies of it in other processes (it pickles,
    but for API keys) share its answers and its budget when it has a cache file.

    Args:
        model: The model, as litellm names it: ``"openai/gpt-5-mini"``, ``"ollama/llama3.2"``.
        cache: Where answers are kept for good: a path of an SQLite file, a Redis URL, or a store
            object. None keeps them in memory, for the life of this client.
        mode: ``"record"`` answers from the cache and asks for what it lacks; ``"replay"`` never
            asks, and a question without a recorded answer is a `CacheMissError`; ``"refresh"``
            asks each question anew, once in the life of this client, and overwrites; ``"off"``
            neither reads nor writes answers.
        budget: The most that may be spent; None for no limit.
        concurrency: How many requests of this client may be under way at once.
        retries: How often a request is sent again when the provider is overloaded or unreachable.
        repairs: How often the model is asked to correct an answer that does not fit its schema.
        timeout: The seconds after which a request without a reply is given up.
        remember_failures: For how many seconds a question that failed for a reason of its own is
            not asked again (our choice: an hour).
        max_entries: The most answers that the cache keeps; the oldest go first. None keeps all.
        prices: Dollars per million prompt tokens and per million completion tokens, for models
            whose price litellm does not know.
        schemas: Whether the model is handed the JSON schema of an answer, as servers of your own
            may take it; None for what litellm knows of the model. Otherwise the schema is written
            into the question.
        transport: What sends requests; None for litellm. For tests and models of your own.
        **params: Everything else. What decides the answer (`temperature`, `max_tokens`, `seed`,
            `reasoning_effort`...) is part of the question; what says how to reach the model
            (`api_base`, `api_key`, `api_key_env`, `extra_headers`...) is not, and is never kept.

    Raises:
        InvalidOptionError: If an option has a value that cannot work.

    >>> from llm_wrappers.testing import ScriptedLLM
    >>> llm = ScriptedLLM(["north"])  # an LLM whose answers are written down beforehand
    >>> llm.ask("Where is water?").text
    'north'
    >>> llm.ask("Where is water?").cached
    True
    """

    def __init__(
        self,
        model: str,
        *,
        cache: Cache = None,
        mode: Mode = "record",
        budget: Budget | None = None,
        concurrency: int = 8,
        retries: int = 4,
        repairs: int = 2,
        timeout: float = 60.0,
        remember_failures: float = 3600.0,
        max_entries: int | None = None,
        prices: tuple[float, float] | None = None,
        schemas: bool | None = None,
        transport: Transport | None = None,
        **params: Any,
    ) -> None:
        _check(model, cache, mode, budget)
        answer_params, reach = split_params(params)
        check_params(answer_params)
        self.model = model
        self.cache = cache
        self.mode: Mode = mode
        self.budget = budget or Budget()
        self.concurrency: int = checks.whole("concurrency", concurrency, least=1)
        self.timeout = timeout
        self.retries: int = checks.whole("retries", retries, least=0)
        self.repairs: int = checks.whole("repairs", repairs, least=0)
        checks.number("remember_failures", remember_failures, least=0)
        self.remember_failures = remember_failures
        self.max_entries = max_entries
        self.params = answer_params
        self.connection = Connection(timeout=timeout, **reach)
        self.prices = prices
        self.schemas = schemas
        self.transport_given = transport is not None
        self.transport = transport or LiteLLMTransport(
            self.connection, prices=prices, schemas=schemas
        )
        self.store = open_store(cache, max_entries=max_entries, read_only=mode == "replay")
        self._ledger = Ledger(self.budget, self.store, lease=max(900.0, 2 * timeout + 60))
        self._build_runtime()

    def _build_runtime(self) -> None:
        self._process = os.getpid()
        self._meter = UsageMeter()
        self._questions = Questions(self.model, self.params)
        self._recall = Recall(self.store, self._meter, mode=self.mode)
        self._asker = Asker(
            Line(
                transport=self.transport,
                ledger=self._ledger,
                places=threading.BoundedSemaphore(self.concurrency),
                retries=self.retries,
                repairs=self.repairs,
            ),
            store=self.store,
            recall=self._recall,
            meter=self._meter,
            mode=self.mode,
            remember_failures=self.remember_failures,
            lease_seconds=self.timeout + _LEASE_MARGIN,
        )

    def ask(
        self,
        prompt: Prompt,
        *,
        schema: type[Model] | None = None,
        purpose: str = "ask",
        sample: int = 0,
        prompt_version: str = "",
        params: Mapping[str, Any] | None = None,
    ) -> Answer[Model]:
        """Return the answer to one prompt, from the cache or from the model.

        Args:
            prompt: A text, or a list of messages with `role` and `content`.
            schema: A pydantic model that the answer must fit; `Answer.parsed` is its instance.
            purpose: Under which name `usage` counts the call: plan, mask, judge and so on.
            sample: Which of several answers: 0, 1, 2... are asked for separately.
            prompt_version: The version of the prompt's template; part of the question.
            params: Parameters for this question that replace those of the client.

        Raises:
            UserError: A key, model, prompt, cache or option is wrong; says what to do.
            BudgetExceededError: The budget does not allow the call; nothing was sent.
            ProviderError: The provider failed, after all retries.
            InvalidAnswerError: The answer does not fit the schema, after all repairs.
        """
        (question,) = self._to_questions([prompt], schema, purpose, sample, prompt_version, params)
        return self._recall.answer(question, purpose) or self._asker.answer(question, purpose)

    @overload
    def ask_many(
        self,
        prompts: Iterable[Prompt],
        *,
        schema: type[Model] | None = ...,
        purpose: str = ...,
        sample: int = ...,
        prompt_version: str = ...,
        params: Mapping[str, Any] | None = ...,
        progress_bar: bool | None = ...,
        on_error: Literal["raise"] = ...,
    ) -> list[Answer[Model]]: ...
    @overload
    def ask_many(
        self,
        prompts: Iterable[Prompt],
        *,
        schema: type[Model] | None = ...,
        purpose: str = ...,
        sample: int = ...,
        prompt_version: str = ...,
        params: Mapping[str, Any] | None = ...,
        progress_bar: bool | None = ...,
        on_error: Literal["none"],
    ) -> list[Answer[Model] | None]: ...
    def ask_many(
        self,
        prompts: Iterable[Prompt],
        *,
        schema: type[BaseModel] | None = None,
        purpose: str = "ask",
        sample: int = 0,
        prompt_version: str = "",
        params: Mapping[str, Any] | None = None,
        progress_bar: bool | None = None,
        on_error: Literal["raise", "none"] = "raise",
    ) -> list[Any]:
        """Return the answers to many prompts, in their order; equal prompts are asked once.

        Answers are kept as they arrive: after Ctrl-C, a spent budget or an error, asking again
        costs only what is missing.

        Args:
            prompts: The prompts.
            schema: As in `ask`, for all of them.
            purpose: As in `ask`.
            sample: As in `ask`.
            prompt_version: As in `ask`.
            params: As in `ask`.
            progress_bar: Whether to show one; None shows it on a terminal when 20 or more
                questions have to be asked.
            on_error: ``"raise"`` answers what can be answered and then raises `BatchError`, which
                holds the answers; ``"none"`` gives None for a prompt that failed, and for all that
                the budget does not allow. What the caller got wrong raises in both.

        Raises:
            UserError: As in `ask`; the rest of the batch is not sent.
            BudgetExceededError: The budget does not allow the rest; only with ``"raise"``.
            BatchError: Some prompts failed; only with ``"raise"``. If all prompts are equal, their
                own error is raised.
        """
        if on_error not in ("raise", "none"):
            raise InvalidOptionError(f"expected on_error 'raise' or 'none', got {on_error!r}")
        questions = self._to_questions(prompts, schema, purpose, sample, prompt_version, params)
        batch = Batch(
            questions,
            recall=self._recall,
            asker=self._asker,
            purpose=purpose,
        )
        return batch.run(
            concurrency=self.concurrency,
            progress_bar=progress_bar,
            keep_going=on_error == "none",
            replay=self.mode == "replay",
        )

    def look_up(
        self,
        prompts: Iterable[Prompt],
        *,
        schema: type[Model] | None = None,
        purpose: str = "ask",
        sample: int = 0,
        prompt_version: str = "",
        params: Mapping[str, Any] | None = None,
    ) -> list[Answer[Model] | None]:
        """Return the answers that `ask` would find in the cache, None for the others.

        Nobody is ever asked. An answer that is found counts as a cache hit.

        Args:
            prompts: The prompts.
            schema: As in `ask`.
            purpose: As in `ask`.
            sample: As in `ask`.
            prompt_version: As in `ask`.
            params: As in `ask`.

        Raises:
            UserError: As in `ask`.
            InvalidAnswerError: In replay, if a recorded answer does not fit the schema.
        """
        questions = self._to_questions(prompts, schema, purpose, sample, prompt_version, params)
        return [self._recall.answer(question, purpose) for question in questions]

    @property
    def usage(self) -> Usage:
        """What this client has used so far in this process, by purpose."""
        return self._meter.snapshot()

    @property
    def spent(self) -> Spending:
        """What the budget's account holds, all processes that share it together.

        Nothing without a budget, and nothing in replay, which only reads the cache.
        """
        return Spending() if self.mode == "replay" else self._ledger.spent

    @property
    def name(self) -> str:
        """The name that `resolve_llm` turns into an equal client, for specs and configurations.

        Raises:
            InvalidOptionError: If an option has no form in a name: a store or transport object,
                an API key, a budget without a name.
        """
        from llm_wrappers.llm.names import name_of

        return name_of(self)

    def close(self) -> None:
        """Close the connections of the cache; a later question opens them again."""
        self.store.close()

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __copy__(self) -> LLM:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> LLM:
        # Gymnasium deep-copies constructor arguments; a copy must share the budget and the answers.
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _RUNTIME}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._build_runtime()

    def __repr__(self) -> str:
        where = f"cache={self.store.location!r}, mode={self.mode!r}"
        return f"{type(self).__name__}({self.model!r}, {where})"

    def _to_questions(
        self,
        prompts: Iterable[Prompt],
        schema: type[BaseModel] | None,
        purpose: str,
        sample: int,
        prompt_version: str,
        params: Mapping[str, Any] | None,
    ) -> list[TypedRequest]:
        checked_purpose(purpose)
        if self._process != os.getpid():
            # A forked child has the locks as they were, some of them held by threads it has not.
            self._build_runtime()
        return self._questions.of(
            prompts, schema=schema, sample=sample, prompt_version=prompt_version, params=params
        )


_RUNTIME = ("_process", "_questions", "_recall", "_asker", "_meter")


def _check(model: Any, cache: Any, mode: Any, budget: Any) -> None:
    """Refuse what cannot work, before anything is opened."""
    if not isinstance(model, str) or not model.strip():
        raise InvalidOptionError(
            f"expected model as litellm names it, like 'openai/gpt-5-mini', got {model!r}"
        )
    checks.one_of("mode", mode, MODES)
    if mode in ("replay", "refresh") and cache is None:
        raise InvalidOptionError(f"mode={mode!r} needs the answers of a cache: give cache=PATH")
    if budget is not None and not isinstance(budget, Budget):
        raise InvalidOptionError(
            f"expected budget as a Budget, like Budget(dollars=5), got {budget!r}"
        )
    if budget is not None and budget.name is not None and cache is None:
        raise InvalidOptionError(
            f"the budget named {budget.name!r} is kept in the cache: give cache=PATH, or a budget "
            "without a name"
        )
