"""How to reach a model: address, key and timeout; never part of a question or of a cache."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

from llm_wrappers import checks
from llm_wrappers.errors import AuthenticationError, InvalidOptionError
from llm_wrappers.llm.provider.redaction import Secrets, divide, is_secret, smells_of_secret

__all__ = ["Connection", "is_connection_option", "split_params"]

_CONNECTION = frozenset({
    "allowed_openai_params", "api_base", "api_key", "api_key_env", "api_version", "base_url",
    "client_id", "extra_headers", "headers", "metadata", "organization", "project",
    "prompt_cache_key", "prompt_cache_retention", "region_name", "safety_identifier",
    "service_tier", "ssl_verify", "store", "tenant_id", "timeout", "user",
})  # fmt: skip
_CONNECTION_PREFIXES = ("aws_", "azure_", "gigachat_", "oci_", "vertex_", "watsonx_")

# What to use instead, and the parameters that would break the client.
_INSTEAD = {
    "it is no option of this client": "acompletion logger_fn",
    "leave out the parameter that the model does not take; nothing is dropped silently": (
        "additional_drop_params drop_params modify_params"
    ),
    "answers are texts; for a structured answer use schema=": (
        "audio function_call functions modalities parallel_tool_calls tool_choice tools"
    ),
    "use cache= and mode=": "cache caching",
    "the client makes its own connections; use api_base=, extra_headers= or ssl_verify=": (
        "client http_client shared_session"
    ),
    "ask one model per client, so that the cache says truly who answered": (
        "context_window_fallback_dict fallbacks model_list"
    ),
    "name the provider in the model, as in 'openai/gpt-5-mini'": "custom_llm_provider",
    "use schema=, which is always checked": "enable_json_schema_validation",
    "use timeout=": "force_timeout request_timeout stream_timeout",
    "use prices=(dollars per million prompt tokens, per million completion tokens)": (
        "input_cost_per_second input_cost_per_token output_cost_per_second output_cost_per_token"
    ),
    "use retries=, which waits as long as the provider asks for": (
        "max_retries num_retries retry_policy retry_strategy"
    ),
    "give the prompt to ask()": "messages prompt prompt_id prompt_variables",
    "it is the first argument of LLM(...)": "model",
    "use sample=0, 1, 2..., so that each answer has its own place in the cache": "n",
    "use schema= with a pydantic model": "response_format",
    "use Budget(requests_per_minute=...)": "rpm",
    "answers are read whole": "stream stream_options",
    "use Budget(tokens=...)": "tpm",
    "configure the logging of Python": "verbose",
}
_REFUSED = {name: hint for hint, names in _INSTEAD.items() for name in names.split()}
_REFUSED_PREFIXES = {
    "mock_": "use ScriptedLLM or LLMServer from llm_wrappers.testing",
    "litellm_": "it is no option of this client",
}


def split_params(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide parameters into those of the question and those of the connection.

    What is unknown counts as part of the question, so that two different requests never share an
    answer; what looks like a secret counts as part of the connection, so that it is never kept.

    Args:
        params: The parameters of a client, by name.

    Returns:
        What decides the answer (`temperature`, `max_tokens`, `seed`...), and what `Connection`
        takes (`api_base`, `api_key`, `extra_headers`...).

    Raises:
        InvalidOptionError: If a parameter would break the client; says what to use instead.

    >>> split_params({"temperature": 0, "api_base": "http://localhost:8000/v1"})
    ({'temperature': 0}, {'api_base': 'http://localhost:8000/v1'})
    """
    answer, connection = {}, {}
    for name, value in params.items():
        _refuse(name)
        if is_connection_option(name, value):
            connection[name] = value
        else:
            _refuse_secrets_inside(name, value)
            answer[name] = value
    return answer, connection


def is_connection_option(name: str, value: Any) -> bool:
    """Return whether a parameter says how to reach the model, and not what it answers."""
    return name in _CONNECTION or name.startswith(_CONNECTION_PREFIXES) or is_secret(name, value)


def _refuse(name: str) -> None:
    instead = _REFUSED.get(name) or next(
        (hint for prefix, hint in _REFUSED_PREFIXES.items() if name.startswith(prefix)), None
    )
    if instead is not None:
        raise InvalidOptionError(f"{name} cannot be passed through to the model: {instead}")


def _refuse_secrets_inside(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        return
    for inner, text in value.items():
        if isinstance(text, str) and smells_of_secret(str(inner)):
            raise InvalidOptionError(
                f"{name}[{inner!r}] looks like a secret, and {name} is kept in the answer cache; "
                "pass it as api_key=, api_key_env= or extra_headers="
            )
        _refuse_secrets_inside(name, text)


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
