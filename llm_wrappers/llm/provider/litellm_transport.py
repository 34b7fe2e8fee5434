"""Requests through litellm, which speaks to almost every provider and to servers of your own."""

from __future__ import annotations

import asyncio
import atexit
import importlib
import inspect
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import cache
from typing import Any, TypeVar

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError, LLMWrappersError, require
from llm_wrappers.llm.answer import Completion
from llm_wrappers.llm.brake import check_requests_allowed, requests_allowed
from llm_wrappers.llm.provider.connection import Connection
from llm_wrappers.llm.provider.redaction import redacted_logs
from llm_wrappers.llm.provider.replies import our_error, read_reply
from llm_wrappers.llm.provider.requests import response_format, worst_case
from llm_wrappers.llm.request import Request
from llm_wrappers.llm.transport import Cost

__all__ = ["LiteLLMTransport", "call_apart", "litellm"]

Result = TypeVar("Result")

# What litellm does unless told otherwise: it fetches its price list and a list of headers from the
# network, reads a .env file into the environment, and points the tokenizer to files of its own.
_IMPORT_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
    "TIKTOKEN_CACHE_DIR": "",
}
# Reentrant, because a fork waits for it as well: half an import cannot be finished in a child.
_loading = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_loading.acquire,
        after_in_parent=_loading.release,
        after_in_child=_loading.release,
    )
_KNOWN_WARNING = ".*using the `ReadOnly` qualifier"
_WAIT_SLICE = 0.5
_IDLE_CONNECTIONS = 32


def litellm() -> Any:
    """Return the litellm module, imported on first use; safe to call from many threads at once.

    Importing it takes seconds, opens no socket and writes no file. The environment is as before
    when it is done.
    """
    with _loading:
        module = _load()
        _ignore_known_warning()
    for switch in ("drop_params", "modify_params"):
        if getattr(module, switch, False):
            raise InvalidOptionError(
                f"litellm.{switch} is on in this process, so that parameters could be changed "
                "without a word and recorded answers would not be what their parameters say; set "
                f"litellm.{switch} = False and unset LITELLM_{switch.upper()}"
            )
    return module


def call_apart(function: Callable[..., Result], arguments: Mapping[str, Any]) -> Result:
    """Call in a thread that has no event loop of its own, so that litellm finds none to use.

    On the main thread litellm makes an event loop and leaves it open, and it puts tasks of its own
    on a loop that is running. It also means that Ctrl-C ends the wait at once.
    """
    if threading.current_thread() is not threading.main_thread() and not _loop_is_running():
        return function(**arguments)
    outcome: list[tuple[Result | None, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((function(**arguments), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=copy_context().run, args=(run,), name="llm-call", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_WAIT_SLICE)  # In slices, because Windows cannot interrupt a longer wait.
    result, error = outcome[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # There is a result where there is no error.


class _AtOnce(Executor):
    """Does what litellm would do in threads of its own after each call: bookkeeping, callbacks.

    Those threads would stay for good, and a process forked while they work can hang for ever.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@cache
def _load() -> Any:
    with _environment(_IMPORT_ENVIRONMENT):
        module: Any = require("litellm", extra="llm")
        _read_files_now()
    module.suppress_debug_info = True  # Prints advice to standard output otherwise.
    module.utils.executor = _AtOnce()
    if module.client_session is None:
        _open_session(module)
    atexit.register(_close_connections, module)
    if hasattr(os, "register_at_fork"):
        inherited: list[Any] = []
        os.register_at_fork(after_in_child=lambda: _forget_connections(module, inherited))
    return module


def _ignore_known_warning() -> None:
    # litellm ignores it as well, but only once, when it is imported: a filter that was set later,
    # as pytest does for each test, makes the first use of some of its modules fail.
    known = ("ignore", re.compile(_KNOWN_WARNING, re.IGNORECASE), UserWarning, None, 0)
    if not warnings.filters or warnings.filters[0] != known:
        warnings.filterwarnings("ignore", _KNOWN_WARNING, UserWarning)


def _open_session(module: Any) -> None:
    # One pool of connections, instead of one for each address and key that nobody ever closes.
    httpx = require("httpx", extra="llm")
    handler = importlib.import_module("litellm.llms.custom_httpx.http_handler")
    module.client_session = httpx.Client(
        verify=handler.get_ssl_configuration(),
        follow_redirects=True,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=_IDLE_CONNECTIONS),
    )


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    for name, value in values.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old


def _read_files_now() -> None:
    # Later it would change the environment for its tokenizer, and fetch headers from the network at
    # the first request to Anthropic.
    importlib.import_module("litellm.litellm_core_utils.default_encoding")
    with suppress(ImportError):  # Of a version that fetches nothing.
        importlib.import_module(
            "litellm.anthropic_beta_headers_manager"
        )._load_beta_headers_config()


def _close_connections(module: Any) -> None:
    for client in [*module.in_memory_llm_clients_cache.cache_dict.values(), module.client_session]:
        close = getattr(client, "close", None)
        if callable(close) and not inspect.iscoroutinefunction(close):
            close()


def _forget_connections(module: Any, inherited: list[Any]) -> None:
    # A forked process must not write into its parent's connections. They are kept, unused, because
    # Python warns of sockets that nobody closed.
    clients = module.in_memory_llm_clients_cache
    inherited += [clients, module.client_session]
    module.in_memory_llm_clients_cache = type(clients)()
    _open_session(module)


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_PLACEHOLDER = "no-key-needed"
# Providers that litellm asks over the network for what a model can do.
_ASKED_OVER_THE_NETWORK = frozenset({"ollama", "ollama_chat"})


class LiteLLMTransport:
    """Sends requests through litellm, once each: retries, cache and budget are the client's.

    litellm is imported at the first request, and never while requests are not allowed. Parameters
    that a model does not take are refused, never left out silently. Where a server does not say how
    many tokens it used, they are estimated.

    Args:
        connection: How to reach the model; None for the provider's own address and environment
            variables.
        prices: Dollars per million prompt tokens and per million completion tokens; None to take
            them from litellm's list.
        schemas: Whether the model can be held to a JSON schema; None for what litellm knows.

    Raises:
        InvalidOptionError: If the prices are no two numbers from zero upwards, or `schemas` is
            neither a bool nor None.

    >>> LiteLLMTransport(Connection(api_base="http://localhost:8000/v1"))
    LiteLLMTransport(Connection(api_base='http://localhost:8000/v1', timeout=60.0))
    """

    def __init__(
        self,
        connection: Connection | None = None,
        *,
        prices: tuple[float, float] | None = None,
        schemas: bool | None = None,
    ) -> None:
        checks.one_of("schemas", schemas, (True, False, None))
        self.connection = connection or Connection()
        self.prices = _checked_prices(prices)
        self.schemas = schemas

    def complete(self, request: Request, *, send_schema: bool) -> Completion:
        """Return the model's answer; see `Transport` for what is raised.

        Args:
            request: What to ask.
            send_schema: Whether to hand the answer schema to the provider, in OpenAI's strict form
                if the schema has one.
        """
        _check_brake(request)
        # Raised here and not where litellm's own exception is at hand: that may hold the key, and
        # would become the context of ours.
        outcome = self._outcome(request, send_schema)
        if isinstance(outcome, LLMWrappersError):
            raise outcome
        return outcome

    def supports_schema(self, model: str) -> bool:
        """Return whether the model can be held to a JSON schema, by `schemas` or as litellm knows.

        Where litellm would be asked it is False while requests are not allowed, so that litellm is
        not imported for nothing.
        """
        if self.schemas is not None:
            return self.schemas
        if not requests_allowed():
            return False
        module = litellm()
        with suppress(Exception):
            if module.get_llm_provider(model)[1] not in _ASKED_OVER_THE_NETWORK:
                return bool(module.supports_response_schema(model))
        return False

    def worst_case(self, request: Request) -> Cost:
        """Return the most that the request can cost; see `Transport`.

        The answer counts with `max_tokens` if it is given, else with the most that the model can
        say, else with 4096 tokens (our choice).

        Raises:
            PromptTooLongError: If the prompt is far over the context window.
            RequestsNotAllowedError: If requests are not allowed.
        """
        _check_brake(request)
        return worst_case(litellm(), request, self.prices)

    def __repr__(self) -> str:
        prices = "" if self.prices is None else f", prices={self.prices}"
        return f"{type(self).__name__}({self.connection!r}{prices})"

    def _outcome(self, request: Request, send_schema: bool) -> Completion | LLMWrappersError:
        secrets = self.connection.secrets
        arguments = self.connection.arguments()
        module = litellm()
        started = time.monotonic()
        with redacted_logs(secrets):
            try:
                arguments.update(self._key_arguments(module, request.model, arguments))
                response = call_apart(
                    module.completion,
                    {**_question(request, send_schema), **arguments, **_SWITCHES},
                )
                return read_reply(
                    module,
                    response,
                    request=request,
                    seconds=time.monotonic() - started,
                    prices=self.prices,
                )
            except LLMWrappersError as error:
                return error.with_traceback(None)  # Frames that hold the key.
            except Exception as error:
                return our_error(error, model=request.model, secrets=secrets)

    def _key_arguments(
        self, module: Any, model: str, arguments: Mapping[str, Any]
    ) -> dict[str, str]:
        """Return the key to send besides what is given, if any."""
        _, provider, found, _ = module.get_llm_provider(model)
        if "api_key" in arguments or found or module.api_key:
            return {}
        wanted = _missing_keys(module, model, provider)
        if not wanted:
            return {}
        if "api_base" in arguments or _address_in_environment(provider):
            # Servers of one's own rarely ask for a key, and litellm always does.
            return {"api_key": _PLACEHOLDER}
        if self.connection.has_credentials:
            return {}
        raise self.connection.missing_key(model, wanted)


# One request for each call, and nothing answered from elsewhere.
_SWITCHES = {"max_retries": 0, "num_retries": 0, "caching": False, "drop_params": False}


def _question(request: Request, send_schema: bool) -> dict[str, Any]:
    question = {
        "model": request.model,
        "messages": [dict(message) for message in request.messages],
        **request.params,
    }
    if send_schema and request.answer_schema is not None:
        question["response_format"] = response_format(request.answer_schema)
    return question


def _check_brake(request: Request) -> None:
    check_requests_allowed(f"{request.model} with {request.preview!r}")


def _missing_keys(module: Any, model: str, provider: str) -> list[str]:
    """Return the environment variables of which the provider needs one and none is set."""
    missing = module.validate_environment(model).get("missing_keys", [])
    names = [name for name in missing if name.endswith(("_API_KEY", "_API_TOKEN"))]
    usual = f"{provider.upper()}_API_KEY"
    if not names and not os.environ.get(usual, "unset").strip():
        names = [usual]  # For litellm a variable that is set to nothing is set.
    # litellm's list does not have every name that litellm itself accepts.
    stem = re.sub(r"[^A-Z0-9]", "", provider.upper())[:6]
    others = [
        name
        for name, value in os.environ.items()
        if name.replace("_", "").startswith(stem) and name.endswith(("KEY", "TOKEN"))
        if value.strip()
    ]
    return [] if others else names


def _address_in_environment(provider: str) -> bool:
    names = (f"{provider.upper()}_API_BASE", f"{provider.upper()}_BASE_URL")
    return any(os.environ.get(name) for name in names)


def _checked_prices(prices: Any) -> tuple[float, float] | None:
    if prices is None:
        return None
    is_pair = isinstance(prices, tuple | list) and len(prices) == 2
    if not is_pair or not all(checks.is_number(price) and price >= 0 for price in prices):
        raise InvalidOptionError(
            "expected prices as two numbers >= 0, dollars per million prompt tokens and per "
            f"million completion tokens, like (0.25, 2.0), got {prices!r}"
        )
    return float(prices[0]), float(prices[1])
