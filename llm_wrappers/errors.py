"""The exceptions and warnings of the package, split by whose fault it is.

::

    Exception
    `-- LLMWrappersError
        |-- UserError                        what the caller passed; raised at once
        |   |-- InvalidOptionError           (ValueError) an option of the wrong value or type
        |   |-- UnknownNameError             (ValueError) a name that no resolver knows
        |   |-- GuidanceFileError            (OSError)    a guidance file missing or unreadable
        |   `-- IncompatibleEnvironmentError (ValueError) an environment the wrapper does not fit
        `-- GuidanceError                    guidance that failed in use; counted, never stops a run

    UserWarning
    `-- GuidanceWarning                      guidance failed; the step ran as plain RL; said once

A missing optional package raises `gymnasium.error.DependencyNotInstalled`, as in Gymnasium itself.
Messages say what was expected, what was received and what to do.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from gymnasium.error import DependencyNotInstalled

__all__ = [
    "DependencyNotInstalled",
    "GuidanceError",
    "GuidanceFileError",
    "GuidanceWarning",
    "IncompatibleEnvironmentError",
    "InvalidOptionError",
    "LLMWrappersError",
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
