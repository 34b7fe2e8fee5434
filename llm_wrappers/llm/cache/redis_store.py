"""The answer cache on a Redis server, shared by machines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

from llm_wrappers import checks
from llm_wrappers.errors import CacheError, CacheReadOnlyError, InvalidOptionError, require
from llm_wrappers.llm.cache.store import Failure, Record, State, StoreBase, line_of
from llm_wrappers.llm.request import canonical_json

__all__ = ["RedisAddress", "RedisStore"]

_SCHEMES = ("redis", "rediss", "unix")


class RedisAddress:
    """A Redis URL that never shows its password."""

    def __init__(self, url: str) -> None:
        self.url = url
        location = _location(url)
        if location is None:
            raise InvalidOptionError(
                "expected a Redis URL such as redis://localhost:6379/0, rediss://HOST:PORT/DB or "
                "unix:///path/to/socket, got something else (it is not repeated, because it may "
                "hold a password); write characters like / # @ of a password as %2F %23 %40"
            )
        self.location = location
        self._secrets = _secrets(url)

    def without_secrets(self, text: str) -> str:
        """Return a text, usually of an error, with the password crossed out."""
        # The longest first, because one form of the password may be part of another.
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def _location(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    # A query may set the database; user and password must not come from it into a message.
    database = parse_qs(parts.query).get("db", [""])[0]
    if parts.scheme not in _SCHEMES or parts.fragment or not re.fullmatch(r"\d*", database):
        return None
    if parts.scheme == "unix":
        return f"unix://{parts.path}" if parts.path else None
    if not parts.hostname or not re.fullmatch(r"(/\d*)?", parts.path):
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or 6379}/{database or parts.path.strip('/') or 0}"


def _secrets(url: str) -> set[str]:
    parts = urlsplit(url)
    given = [parts.password or "", *parse_qs(parts.query).get("password", [])]
    forms = {form for text in given for form in (text, unquote(text), quote(text, safe=""))}
    return forms - {""}


Result = TypeVar("Result")

_CONNECT_SECONDS, _REPLY_SECONDS = 5.0, 30.0


_PAGE = 256
# A claim is renewed, or given back, only by the one who has it.
_RENEW = (
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
    "return redis.call('PEXPIRE', KEYS[1], ARGV[2])"
)
_RELEASE = (
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call('DEL', KEYS[1])"
)


class RedisStore(StoreBase):
    """Answers on a Redis server; nothing is connected before first use. Needs the extra `redis`.

    Whether answers survive a restart of the server, and whether it drops some when its memory is
    full, is up to its configuration. A pickle of the store holds the URL with its password,
    because a worker process needs it to connect; messages and `repr` never do.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user, password and database.
        prefix: What all names on the server begin with.
        max_entries: Beyond this number the oldest answers are deleted; None keeps all.
        read_only: Whether to refuse every change.

    Raises:
        InvalidOptionError: If an option has a wrong value.

    >>> RedisStore("redis://:secret@localhost:6379/0")
    RedisStore('redis://localhost:6379/0')
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "llm_wrappers:",
        max_entries: int | None = None,
        read_only: bool = False,
    ) -> None:
        self.max_entries: int | None = checks.whole(
            "max_entries", max_entries, least=1, or_none="to keep all"
        )
        self.prefix = prefix
        self.read_only = read_only
        self._address = RedisAddress(url)
        self._client: Any = None
        self._by_age = f"{prefix}by_age"

    @property
    def location(self) -> str:
        """The URL without user and password."""
        return self._address.location

    def get(self, key: str) -> Record | None:
        """Return the record of a key, or None; a damaged one is a `CacheCorruptError`."""
        name = self._name("answer", key)
        line = self._read(lambda client: client.get(name))
        return None if line is None else self._record(key, line)

    def put(self, record: Record, *, replace: bool = False) -> Record:
        """Keep a record, forget its failure and its claim; return the one that is kept.

        Without `replace` the first writer wins. A damaged answer does not count as one.
        """
        key, line = record.key, line_of(record)
        name = self._name("answer", key)

        def keep(pipe: Any) -> Record | None:
            kept = None if replace else self._intact(key, pipe.get(name))
            pipe.multi()
            if kept is None:
                pipe.set(name, line)
                pipe.zadd(self._by_age, {key: record.created})
            pipe.delete(self._name("failure", key), self._name("claim", key))
            return kept

        kept = self._change(keep, name)
        if kept is None and self.max_entries is not None:
            self._delete_oldest(self.max_entries)
        return record if kept is None else kept

    def failure(self, key: str) -> Failure | None:
        """Return the remembered failure of a key that has not expired, or None."""
        name = self._name("failure", key)
        return self._failure(self._read(lambda client: client.get(name)))

    def put_failure(self, key: str, failure: Failure) -> None:
        """Remember a failure; the server forgets it when it expires."""
        name, body = self._name("failure", key), failure.model_dump(mode="json")

        def keep(pipe: Any) -> None:
            pipe.multi()
            pipe.set(name, canonical_json(body))
            pipe.pexpireat(name, int(failure.expires * 1000))

        self._change(keep)

    def claim(self, key: str, *, owner: str, seconds: float) -> bool:
        """Try to become the one who asks for a key; an owner may claim again, to have it longer."""
        name, milliseconds = self._name("claim", key), max(1, int(seconds * 1000))
        return bool(
            self._write(
                lambda client: (
                    client.set(name, owner, nx=True, px=milliseconds)
                    or client.eval(_RENEW, 1, name, owner, milliseconds)
                )
            )
        )

    def release(self, key: str, *, owner: str) -> None:
        """Give a claim back; that of another owner stays."""
        name = self._name("claim", key)
        self._write(lambda client: client.eval(_RELEASE, 1, name, owner))

    def transact(self, name: str, change: Callable[[State], Result]) -> Result:
        """Change a named JSON document; if `change` raises, nothing is changed."""
        document = self._name("document", name)

        def attempt(pipe: Any) -> Result:
            state = self._state(name, pipe.get(document))
            result = change(state)
            body = canonical_json(state)
            pipe.multi()
            pipe.set(document, body)
            return result

        return self._change(attempt, document)

    def records(self) -> Iterator[Record]:
        """Iterate over all records in the order of their keys."""
        for key, line in self._lines():
            yield self._record(key, line)

    def keys(self) -> Iterator[str]:
        """Iterate over all keys in their order, those of damaged answers included."""
        start = len(self._name("answer", ""))
        yield from sorted(name[start:] for name in self._names("answer"))

    def discard(self, key: str) -> bool:
        """Delete one answer, damaged or not; return whether there was one."""
        return self._delete([key]) == 1

    def stats(self) -> Mapping[str, Any]:
        """Return what the cache holds, see `AnswerStore`; reads all of it."""
        sums: Counter[str] = Counter()
        models: Counter[str] = Counter()
        dollars, times = 0.0, []
        for key, line in self._lines():
            sums.update(answers=1, bytes=len(line))
            record = self._intact(key, line)
            if record is not None:
                sums.update(tokens=record.completion.tokens)
                models.update([record.request.model])
                dollars += record.completion.dollars or 0.0
                times.append(record.created)
        return {
            "answers": sums["answers"],
            "failures": len(self._names("failure")),
            "bytes": sums["bytes"],
            "tokens": sums["tokens"],
            "dollars": dollars,
            "models": dict(sorted(models.items())),
            "oldest": min(times, default=None),
            "newest": max(times, default=None),
        }

    def prune(
        self,
        *,
        before: float | None = None,
        model: str | None = None,
        max_entries: int | None = None,
    ) -> int:
        """Delete answers; return how many. The server forgets failures and claims by itself."""
        checks.whole("max_entries", max_entries, least=1, or_none="to keep all")
        gone = 0
        if before is not None or model is not None:
            records = (self._intact(key, line) for key, line in self._lines())
            gone += self._delete(
                [
                    record.key
                    for record in records
                    if record is not None
                    and (before is None or record.created < before)
                    and (model is None or record.request.model == model)
                ]
            )
        if max_entries is not None:
            gone += self._delete_oldest(max_entries)
        return gone

    def close(self) -> None:
        """Close all connections; a later call makes new ones."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _name(self, kind: str, key: str) -> str:
        """Return the name on the server of something that is kept under a key."""
        return f"{self.prefix}{kind}:{key}"

    def _names(self, kind: str) -> set[str]:
        """Return all names of one kind."""
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self._name(kind, "")) + "*"
        return set(self._read(lambda client: list(client.scan_iter(pattern, count=1000))))

    def _texts(self, names: list[str]) -> list[str | None]:
        """Return what is kept under each name."""
        texts: list[str | None] = self._read(lambda client: client.mget(names))
        return texts

    def _read(self, ask: Callable[[Any], Result]) -> Result:
        """Return what `ask` gets from the client."""
        try:
            return ask(self._connected())
        except self._errors() as error:
            failure = self._explained(error)
        # Outside of the handler: an error of the client may show what was sent, in its chain too.
        raise failure

    def _write(self, ask: Callable[[Any], Result]) -> Result:
        """Return what `ask` gets from the client for a change."""
        if self.read_only:
            raise CacheReadOnlyError(
                f"expected an answer cache that can be written, got {self._address.location}, "
                "which was opened with read_only=True; open it with read_only=False"
            )
        return self._read(ask)

    def _change(self, attempt: Callable[[Any], Result], *watched: str) -> Result:
        """Return what `attempt` does with a pipeline; again, if what it read was changed."""
        result: Result = self._write(
            lambda client: client.transaction(attempt, *watched, value_from_callable=True)
        )
        return result

    def _connected(self) -> Any:
        if self._client is None:
            redis = require("redis", extra="redis")
            self._client = redis.Redis.from_url(
                self._address.url,
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
        location, redis = self._address.location, require("redis", extra="redis")
        reason = self._address.without_secrets(str(error))
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

    def _lines(self) -> Iterator[tuple[str, str]]:
        keys = list(self.keys())
        for start in range(0, len(keys), _PAGE):
            page = keys[start : start + _PAGE]
            lines = self._texts([self._name("answer", key) for key in page])
            # What was deleted meanwhile has no line.
            yield from ((key, line) for key, line in zip(page, lines, strict=True) if line)

    def _delete(self, keys: list[str]) -> int:
        if not keys:
            return 0
        names = [self._name("answer", key) for key in keys]

        def delete(client: Any) -> int:
            with client.pipeline(transaction=True) as pipe:
                pipe.delete(*names)
                pipe.zrem(self._by_age, *keys)
                return int(pipe.execute()[0])

        return self._write(delete)

    def _delete_oldest(self, most: int) -> int:
        def delete(pipe: Any) -> int:
            excess = max(0, pipe.zcard(self._by_age) - most)
            keys = pipe.zrange(self._by_age, 0, excess - 1) if excess else []
            pipe.multi()
            if keys:
                pipe.delete(*[self._name("answer", key) for key in keys])
                pipe.zrem(self._by_age, *keys)
            return len(keys)

        return self._change(delete, self._by_age)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "url": self._address.url,
            "prefix": self.prefix,
            "max_entries": self.max_entries,
            "read_only": self.read_only,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        RedisStore.__init__(self, **state)
