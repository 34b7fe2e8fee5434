"""The connection to a Redis server."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from llm_wrappers.errors import CacheError, CacheReadOnlyError, require
from llm_wrappers.llm.cache._redis_address import RedisAddress

__all__ = ["RedisServer"]

Result = TypeVar("Result")

_CONNECT_SECONDS, _REPLY_SECONDS = 5.0, 30.0


class RedisServer:
    """Connections to one server, made when they are needed, whose errors tell no password.

    Args:
        address: Where the server is.
        prefix: What all names begin with.
        read_only: Whether to refuse every change.
    """

    def __init__(self, address: RedisAddress, *, prefix: str, read_only: bool) -> None:
        self.address = address
        self.prefix = prefix
        self.read_only = read_only
        self._client: Any = None

    def name(self, kind: str, key: str) -> str:
        """Return the name on the server of something that is kept under a key."""
        return f"{self.prefix}{kind}:{key}"

    def names(self, kind: str) -> set[str]:
        """Return all names of one kind."""
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self.name(kind, "")) + "*"
        return set(self.read(lambda client: list(client.scan_iter(pattern, count=1000))))

    def texts(self, names: list[str]) -> list[str | None]:
        """Return what is kept under each name."""
        texts: list[str | None] = self.read(lambda client: client.mget(names))
        return texts

    def read(self, ask: Callable[[Any], Result]) -> Result:
        """Return what `ask` gets from the client."""
        try:
            return ask(self._connected())
        except self._errors() as error:
            failure = self._explained(error)
        # Outside of the handler: an error of the client may show what was sent, in its chain too.
        raise failure

    def write(self, ask: Callable[[Any], Result]) -> Result:
        """Return what `ask` gets from the client for a change.

        Raises:
            CacheReadOnlyError: If nothing may be changed.
        """
        if self.read_only:
            raise CacheReadOnlyError(
                f"expected an answer cache that can be written, got {self.address.location}, "
                "which was opened with read_only=True; open it with read_only=False"
            )
        return self.read(ask)

    def change(self, attempt: Callable[[Any], Result], *watched: str) -> Result:
        """Return what `attempt` does with a pipeline; again, if what it read was changed."""
        result: Result = self.write(
            lambda client: client.transaction(attempt, *watched, value_from_callable=True)
        )
        return result

    def close(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> Any:
        if self._client is None:
            redis = require("redis", extra="redis")
            self._client = redis.Redis.from_url(
                self.address.url,
                decode_responses=True,
                # A broken text must not end in the decoder: its checksum says what it is.
                encoding_errors="replace",
                socket_connect_timeout=_CONNECT_SECONDS,
                socket_timeout=_REPLY_SECONDS,
                # Once more, for a connection that the server closed while nobody used it.
                retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.1), 1),
                retry_on_error=[redis.ConnectionError, redis.TimeoutError],
            )
        return self._client

    def _errors(self) -> tuple[type[Exception], ...]:
        return (require("redis", extra="redis").RedisError,)

    def _explained(self, error: Exception) -> CacheError:
        location, redis = self.address.location, require("redis", extra="redis")
        reason = self.address.without_secrets(str(error))
        if isinstance(error, redis.exceptions.ReadOnlyError):
            return CacheReadOnlyError(
                f"expected an answer cache that can be written, got {location}, a server that "
                f"only reads ({reason}); use its primary server, or read_only=True"
            )
        hint = "check the URL, and that the server runs and can be reached"
        if isinstance(error, (redis.AuthenticationError, redis.exceptions.NoPermissionError)):
            hint = "check the user and the password in the URL, and what they may do"
        elif isinstance(error, redis.ResponseError):
            hint = "check the server's memory, version and configuration"
        return CacheError(f"cannot use the answer cache {location}: {reason}; {hint}")
