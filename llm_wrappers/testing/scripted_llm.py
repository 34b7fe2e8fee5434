"""A language model whose answers are written down beforehand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.answer import Completion
from llm_wrappers.llm.client import LLM
from llm_wrappers.llm.request import Request
from llm_wrappers.llm.transport import Cost

__all__ = ["ScriptedLLM", "ScriptedTransport"]

Reply: TypeAlias = "str | BaseModel | Completion | Exception"
Script: TypeAlias = "Iterable[Reply] | Mapping[str, Reply] | Callable[[Request], Reply]"

_CHARACTERS_PER_TOKEN = 4


class ScriptedTransport:
    """Answers requests from a script; a `Transport` without a provider behind it.

    Args:
        script: As for `ScriptedLLM`.
        schemas: Whether it claims to hold answers to a JSON schema.
    """

    def __init__(self, script: Script, *, schemas: bool = True) -> None:
        self._function = script if callable(script) else None
        self._by_prompt = script if isinstance(script, Mapping) else None
        self._queue = [] if callable(script) or isinstance(script, Mapping) else list(script)
        self._schemas = schemas
        self._lock = threading.Lock()
        self.requests: list[Request] = []

    def complete(self, request: Request, *, send_schema: bool) -> Completion:
        """Return the next answer of the script, or raise it if it is an exception."""
        with self._lock:
            self.requests.append(request)
            reply = self._scripted(request) if self._function is None else None
        if self._function is not None:
            # Outside of the lock: a function may take its time, and requests run side by side.
            reply = self._function(request)
        return _as_completion(reply, request)

    def supports_schema(self, model: str) -> bool:
        """Return what was given as `schemas`."""
        return self._schemas

    def worst_case(self, request: Request) -> Cost:
        """Return the cost of the prompt and an answer of `max_tokens` (100 if not given), free."""
        longest = request.params.get("max_tokens", 100)
        return Cost(_tokens(request.text) + int(str(longest)), 0.0)

    def _scripted(self, request: Request) -> Reply:
        if self._by_prompt is not None:
            prompt = str(request.messages[-1].get("content"))
            if prompt not in self._by_prompt:
                raise AssertionError(f"the script has no answer to {prompt!r}")
            return self._by_prompt[prompt]
        if not self._queue:
            raise AssertionError(f"the script has no answer left for {request.preview!r}")
        return self._queue.pop(0)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()


class ScriptedLLM(LLM):
    """An `LLM` without a provider: cache, budget, schemas and repairs are real, answers scripted.

    Args:
        script: The answers: a list, used up one per request; a dict from the text of the last
            message to the answer; or a function of the `Request`. An answer is a text, a pydantic
            object (sent as JSON), a whole `Completion`, or an exception, which is raised.
        model: The name under which answers are cached.
        schemas: Whether the model claims to hold its answers to a JSON schema.
        **options: The options of `LLM`; `retries` is 0 unless given.

    Raises:
        InvalidOptionError: If the script is a single text.

    >>> llm = ScriptedLLM(lambda request: request.messages[-1]["content"].upper())
    >>> [answer.text for answer in llm.ask_many(["eat", "sleep", "eat"])]
    ['EAT', 'SLEEP', 'EAT']
    >>> len(llm.requests)
    2
    """

    def __init__(
        self, script: Script, *, model: str = "scripted", schemas: bool = True, **options: Any
    ) -> None:
        if isinstance(script, str):
            raise InvalidOptionError(
                f"expected a list, a dict or a function of answers, got the text {script!r}"
            )
        options.setdefault("retries", 0)
        super().__init__(model, transport=ScriptedTransport(script, schemas=schemas), **options)

    @property
    def requests(self) -> list[Request]:
        """The requests that reached the model, in order."""
        transport = self.transport
        assert isinstance(transport, ScriptedTransport)
        return transport.requests


def _as_completion(reply: Reply | None, request: Request) -> Completion:
    if isinstance(reply, Exception):
        raise reply
    if isinstance(reply, Completion):
        return reply
    text = reply.model_dump_json() if isinstance(reply, BaseModel) else str(reply)
    return Completion(
        text=text,
        model=request.model,
        prompt_tokens=_tokens(request.text),
        completion_tokens=_tokens(text),
        dollars=0.0,
    )


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARACTERS_PER_TOKEN)
