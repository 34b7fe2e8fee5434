"""How to reach a model: address, key and timeout; never part of a question or of a cache."""

from __future__ import annotations

import os
import re
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

from llm_wrappers import checks
from llm_wrappers.errors import AuthenticationError, InvalidOptionError
from llm_wrappers.llm.provider._params import is_connection_option, split_params
from llm_wrappers.llm.provider._redaction import Secrets, divide, smells_of_secret

__all__ = ["Connection", "split_params"]

_ADDRESS = re.compile(r"https?://[^\s/?#]+[^\s]*")


class Connection:
    """How to reach a model.

    A connection cannot be changed. It pickles without its secrets: a copy in another process finds
    its key in the environment, or says on first use that keys do not travel.

    Args:
        api_base: The address of the server, ``"http://localhost:8000/v1"``; None for the
            provider's own.
        api_key: The API key; None to find it in the environment.
        api_key_env: The environment variable that holds the key, if not the provider's usual one.
        timeout: After how many seconds it is given up to connect, or to wait for the next bytes of
            a reply (our choice: 60).
        **options: More options of the provider: `api_version`, `organization`, `extra_headers`,
            `aws_region_name`, `vertex_project` and so on.

    Raises:
        InvalidOptionError: If an option cannot work.

    >>> Connection(api_base="http://localhost:8000/v1", api_key="sk-123456")
    Connection(api_base='http://localhost:8000/v1', timeout=60.0, api_key=[secret])
    """

    api_base: str | None
    api_key_env: str | None
    timeout: float

    def __init__(
        self,
        *,
        api_base: str | None = None,
        api_key: str | None = None,
        api_key_env: str | None = None,
        timeout: float = 60.0,
        **options: Any,
    ) -> None:
        base_url = options.pop("base_url", None)
        if base_url is not None and api_base is not None:
            raise InvalidOptionError("api_base and base_url are the same: give one of them")
        if api_key is not None and api_key_env is not None:
            raise InvalidOptionError("give api_key or api_key_env, not both")
        for name in options:
            if not is_connection_option(name, options[name]):
                raise InvalidOptionError(
                    f"{name} does not say how to reach the model; it is a parameter of LLM(...)"
                )
        visible, hidden = divide(options)
        if api_key is not None:
            hidden["api_key"] = _checked_key(api_key, "api_key")
        # Past __setattr__, which refuses changes.
        vars(self).update(
            api_base=_checked_address(base_url if api_base is None else api_base),
            api_key_env=_checked_variable(api_key_env),
            timeout=checks.number("timeout", timeout, above=0),
            _visible=visible,
            _hidden=hidden,
            _left_behind=(),
        )

    _visible: dict[str, Any]
    _hidden: dict[str, Any]
    _left_behind: tuple[str, ...]

    @property
    def secrets(self) -> Secrets:
        """The values that must not be seen."""
        return Secrets([self._hidden, os.environ.get(self.api_key_env or "", "")])

    @property
    def has_credentials(self) -> bool:
        """Whether the connection brings a key, a token or secret headers of its own."""
        return bool(self._hidden) or self.api_key_env is not None

    def arguments(self) -> dict[str, Any]:
        """Return what litellm takes: the address, the key if there is one, and the options.

        Raises:
            AuthenticationError: If `api_key_env` names a variable that is not set, or if secrets
                were left behind in another process.
        """
        lost = [name for name in self._left_behind if name != "api_key"]
        if lost:
            raise AuthenticationError(_left_behind(lost))
        arguments = {**self._visible, **self._hidden, "timeout": self.timeout}
        for name in self._visible.keys() & self._hidden.keys():
            arguments[name] = {**self._visible[name], **self._hidden[name]}
        if self.api_base is not None:
            arguments["api_base"] = self.api_base
        if self.api_key_env is not None:
            arguments["api_key"] = self._key_of_environment(self.api_key_env)
        return arguments

    def missing_key(self, model: str, variables: list[str]) -> AuthenticationError:
        """Return the error for a provider whose key cannot be found.

        Args:
            model: The model that was to be asked.
            variables: The environment variables in which the provider's key is looked for.
        """
        names = " or ".join(variables)
        if "api_key" in self._left_behind:
            return AuthenticationError(f"{_left_behind(['api_key'])}: {names}")
        return AuthenticationError(
            f"no API key for {model}: set the environment variable {names}, or pass api_key= or "
            "api_key_env=; a server of your own is named by api_base="
        )

    def named(self) -> dict[str, Any]:
        """Return all options but `timeout` as plain data, to be written down in a name.

        Raises:
            InvalidOptionError: If one of them is a secret.
        """
        secret = sorted({*self._hidden, *self._left_behind})
        if secret:
            raise InvalidOptionError(
                f"a name must not hold secrets, and this client has {secret}: use the provider's "
                "environment variable or api_key_env="
            )
        own = {"api_base": self.api_base, "api_key_env": self.api_key_env}
        return {name: value for name, value in own.items() if value is not None} | self._visible

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"a Connection cannot be changed; make a new one with {name}=")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Connection) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # Options may be dicts.

    def __repr__(self) -> str:
        own = {"api_base": self.api_base, "api_key_env": self.api_key_env, "timeout": self.timeout}
        shown = {name: value for name, value in own.items() if value is not None} | self._visible
        parts = [f"{name}={value!r}" for name, value in shown.items()]
        parts += [f"{name}=[secret]" for name in sorted(self._hidden)]
        return f"{type(self).__name__}({', '.join(parts)})"

    def __copy__(self) -> Connection:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Connection:
        return self

    def __getstate__(self) -> dict[str, Any]:
        left_behind = tuple(sorted({*self._left_behind, *self._hidden}))
        return {**vars(self), "_hidden": {}, "_left_behind": left_behind}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    @staticmethod
    def _key_of_environment(variable: str) -> str:
        key = os.environ.get(variable, "")
        if not key.strip():
            raise AuthenticationError(
                f"api_key_env names the environment variable {variable}, which is not set in this "
                "process: set it before the program starts"
            )
        return _checked_key(key, f"the environment variable {variable}")


def _left_behind(names: list[str]) -> str:
    return (
        f"{', '.join(names)}: secrets do not travel to other processes, and this client came from "
        "one. Make the client in this process, pass the name of a variable as api_key_env=, or set "
        "the provider's environment variable"
    )


def _checked_address(address: Any) -> str | None:
    if address is None:
        return None
    query = urlsplit(address).query if isinstance(address, str) else ""
    if "@" in str(address) or any(smells_of_secret(name) for name, _ in parse_qsl(query)):
        raise InvalidOptionError(
            "api_base must not hold a password or a key, because addresses are shown in messages; "
            "pass api_key= or extra_headers="
        )
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        raise InvalidOptionError(
            f"expected api_base as an address like 'http://localhost:8000/v1', got {address!r}"
        )
    return address


def _checked_key(key: Any, where: str) -> str:
    if not isinstance(key, str) or not key or not key.isprintable() or key != key.strip():
        kind = "text" if isinstance(key, str) else type(key).__name__
        raise InvalidOptionError(
            f"expected an API key in {where}, got {kind} that no header can hold: empty, or with "
            "spaces or line ends around it (strip it)"
        )
    return key


def _checked_variable(name: Any) -> str | None:
    if name is not None and (not isinstance(name, str) or not name.isidentifier()):
        raise InvalidOptionError(
            "expected api_key_env as the name of an environment variable, like 'MY_KEY'; a key "
            "itself goes to api_key="
        )
    return name
