"""The exceptions and warnings of the package, split by whose fault it is.

::

    Exception
    `-- LLMWrappersError
        |-- UserError                        what the caller passed; raised at once
        |   |-- InvalidOptionError           (ValueError) an option of the wrong value or type
        |   |-- UnknownNameError             (ValueError) a name that no resolver knows
        |   |-- GuidanceFileError            (OSError)    a guidance file missing or unreadable
        |   |-- IncompatibleEnvironmentError (ValueError) an environment the wrapper does not fit
        |   |-- RequestsNotAllowedError      (RuntimeError) the brake on language model calls is on
        |   |-- AuthenticationError          an API key that is missing or refused
        |   |-- UnknownModelError            (ValueError) a model that the provider does not have
        |   |-- InvalidRequestError          (ValueError) a request that the provider refuses
        |   |   `-- PromptTooLongError       a prompt over the model's context window
        |   `-- CacheError                   (OSError)    an answer cache that cannot be used
        |       |-- CacheMissError           (LookupError) replay, and the cache has no such answer
        |       |-- CacheVersionError        a cache from a newer version of this package
        |       |-- CacheReadOnlyError       a cache that must be written and cannot be
        |       `-- CacheCorruptError        a cache file that is damaged; it was set aside
        |-- GuidanceError                    guidance that failed in use; counted, never stops a run
        `-- LLMError                         a language model was asked and gave nothing usable
            |-- BudgetExceededError          the budget does not allow one more call
            |-- ProviderError                (ConnectionError) unreachable, overloaded or broken
            |-- InvalidAnswerError           (ValueError) no answer that fits, after all repairs
            |-- AuthoringError               a model wrote no guidance that passes the checks
            `-- BatchError                   some prompts of a batch failed; holds the rest

    UserWarning
    `-- GuidanceWarning                      guidance failed; the step ran as plain RL; said once

A missing optional package raises `gymnasium.error.DependencyNotInstalled`, as in Gymnasium itself.
Messages say what was expected, what was received and what to do.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from gymnasium.error import DependencyNotInstalled

__all__ = [
    "AuthenticationError",
    "AuthoringError",
    "BatchError",
    "BudgetExceededError",
    "CacheCorruptError",
    "CacheError",
    "CacheMissError",
    "CacheReadOnlyError",
    "CacheVersionError",
    "DependencyNotInstalled",
    "GuidanceError",
    "GuidanceFileError",
    "GuidanceWarning",
    "IncompatibleEnvironmentError",
    "InvalidAnswerError",
    "InvalidOptionError",
    "InvalidRequestError",
    "LLMError",
    "LLMWrappersError",
    "PromptTooLongError",
    "ProviderError",
    "RequestsNotAllowedError",
    "UnknownModelError",
    "UnknownNameError",
    "UserError",
    "require",
]


class LLMWrappersError(Exception):
    """The base of every exception this package raises itself."""


class UserError(LLMWrappersError):
    """Something the caller passed is wrong; nothing has happened yet."""


class InvalidOptionError(UserError, ValueError):
    """An option has a value or a type outside what is documented."""


class UnknownNameError(UserError, ValueError):
    """A name such as ``"reference:craftax-classic"`` is not known to any resolver."""


class GuidanceFileError(UserError, OSError):
    """A guidance file is missing, unreadable or not what it claims to be."""


class IncompatibleEnvironmentError(UserError, ValueError):
    """The wrapper cannot apply to this environment, for example because of its action space."""


class GuidanceError(LLMWrappersError):
    """Guidance failed while it was used; wrappers count it and fall back to plain RL."""


class RequestsNotAllowedError(UserError, RuntimeError):
    """A request to a language model would be sent while `allow_requests(False)` holds."""


class AuthenticationError(UserError):
    """The provider has no API key for this model, or refuses the one it got."""


class UnknownModelError(UserError, ValueError):
    """The provider, or the library that speaks to it, does not know the model."""


class InvalidRequestError(UserError, ValueError):
    """The provider refuses the request itself; asking again would be refused again."""


class PromptTooLongError(InvalidRequestError):
    """The prompt does not fit into the model's context window."""


class CacheError(UserError, OSError):
    """An answer cache cannot be used as it is."""


class CacheMissError(CacheError, LookupError):
    """`mode="replay"` found no recorded answer; no model was asked."""


class CacheVersionError(CacheError):
    """The cache was written by a newer version of this package."""


class CacheReadOnlyError(CacheError):
    """The cache has to be written and cannot be."""


class CacheCorruptError(CacheError):
    """The cache file is damaged; it was set aside, never overwritten."""


class LLMError(LLMWrappersError):
    """A language model was asked, and gave nothing usable."""


class BudgetExceededError(LLMError):
    """The budget does not allow one more call; nothing was sent."""


class ProviderError(LLMError, ConnectionError):
    """The provider could not be reached, is overloaded or answered with something broken.

    Args:
        message: What happened and what to do.
        status: The HTTP status, if there was a reply.
        retry_after: The seconds that the provider asks to wait.
        transient: Whether the same request may go through later.
        maybe_billed: Whether the provider may have done the work, and may charge for it, although
            no answer arrived.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        transient: bool = True,
        maybe_billed: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.transient = transient
        self.maybe_billed = maybe_billed


class InvalidAnswerError(LLMError, ValueError):
    """No answer of the model fits the schema, after all repair turns.

    Args:
        message: What was expected and what is wrong.
        text: The last answer.
    """

    def __init__(self, message: str, *, text: str = "") -> None:
        super().__init__(message)
        self.text = text


class AuthoringError(LLMError):
    """A model wrote no guidance that passes the checks, after all repairs.

    Args:
        message: What is wrong with the last version.
        draft: The last version, with the report of its checks.
    """

    def __init__(self, message: str, *, draft: Any = None) -> None:
        super().__init__(message)
        self.draft = draft


class BatchError(LLMError):
    """Some prompts of a batch failed; what was answered is kept.

    Args:
        message: How many failed, and the first reason.
        answers: The answers in the order of the prompts; None where a prompt failed.
        errors: Position of a prompt -> the exception it met.
    """

    def __init__(
        self,
        message: str,
        *,
        answers: Sequence[Any] = (),
        errors: Mapping[int, Exception] | None = None,
    ) -> None:
        super().__init__(message)
        self.answers = list(answers)
        self.errors = dict(errors or {})


class GuidanceWarning(UserWarning):
    """Guidance failed and a step fell back to plain RL; issued once per wrapper."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional package, or say which extra installs it.

    Args:
        module: The dotted name of the module to import.
        extra: The extra of this package that installs it.

    Raises:
        DependencyNotInstalled: If the module is not installed.

    >>> require("json", extra="sb3").__name__
    'json'
    >>> require("no_such_module", extra="crafter")
    Traceback (most recent call last):
        ...
    gymnasium.error.DependencyNotInstalled: 'no_such_module' is not installed; run ...
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise DependencyNotInstalled(
            f"'{error.name}' is not installed; run `pip install \"llm-wrappers[{extra}]\"`"
        ) from error
