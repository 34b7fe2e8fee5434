"""litellm, imported late and kept quiet."""

from __future__ import annotations

import asyncio
import atexit
import importlib
import inspect
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import cache
from typing import Any, TypeVar

from llm_wrappers.errors import InvalidOptionError, require

__all__ = ["call_apart", "litellm"]

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

    Raises:
        DependencyNotInstalled: If it is not installed.
        InvalidOptionError: If it is set to leave out parameters silently.
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

    Raises:
        Exception: What the function raises.
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
