"""The answer cache on a Redis server, shared by machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from llm_wrappers import checks
from llm_wrappers.llm.cache._redis_address import RedisAddress
from llm_wrappers.llm.cache._redis_server import RedisServer
from llm_wrappers.llm.cache._store_base import StoreBase
from llm_wrappers.llm.cache._store_line import line_of
from llm_wrappers.llm.cache.store import Failure, Record, State
from llm_wrappers.llm.request import canonical_json

__all__ = ["RedisStore"]

Result = TypeVar("Result")

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
        self._server = RedisServer(RedisAddress(url), prefix=prefix, read_only=read_only)
        self._by_age = f"{prefix}by_age"

    @property
    def location(self) -> str:
        """The URL without user and password."""
        return self._server.address.location

    @property
    def prefix(self) -> str:
        """What all names on the server begin with."""
        return self._server.prefix

    @property
    def read_only(self) -> bool:
        """Whether every change is refused."""
        return self._server.read_only

    def get(self, key: str) -> Record | None:
        """Return the record of a key, or None.

        Raises:
            CacheCorruptError: If the answer is damaged.
            CacheError: If the server cannot be used.
        """
        name = self._server.name("answer", key)
        line = self._server.read(lambda client: client.get(name))
        return None if line is None else self._record(key, line)

    def put(self, record: Record, *, replace: bool = False) -> Record:
        """Keep a record, forget its failure and its claim; return the one that is kept.

        Without `replace` the first writer wins. A damaged answer does not count as one.
        """
        key, line = record.key, line_of(record)
        name = self._server.name("answer", key)

        def keep(pipe: Any) -> Record | None:
            kept = None if replace else self._intact(key, pipe.get(name))
            pipe.multi()
            if kept is None:
                pipe.set(name, line)
                pipe.zadd(self._by_age, {key: record.created})
            pipe.delete(self._server.name("failure", key), self._server.name("claim", key))
            return kept

        kept = self._server.change(keep, name)
        if kept is None and self.max_entries is not None:
            self._delete_oldest(self.max_entries)
        return record if kept is None else kept

    def failure(self, key: str) -> Failure | None:
        """Return the remembered failure of a key that has not expired, or None."""
        name = self._server.name("failure", key)
        return self._failure(self._server.read(lambda client: client.get(name)))

    def put_failure(self, key: str, failure: Failure) -> None:
        """Remember a failure; the server forgets it when it expires."""
        name, body = self._server.name("failure", key), failure.model_dump(mode="json")

        def keep(pipe: Any) -> None:
            pipe.multi()
            pipe.set(name, canonical_json(body))
            pipe.pexpireat(name, int(failure.expires * 1000))

        self._server.change(keep)

    def claim(self, key: str, *, owner: str, seconds: float) -> bool:
        """Try to become the one who asks for a key; an owner may claim again, to have it longer.

        Look for the answer again afterwards: it may have come just before.
        """
        name, milliseconds = self._server.name("claim", key), max(1, int(seconds * 1000))
        return bool(
            self._server.write(
                lambda client: (
                    client.set(name, owner, nx=True, px=milliseconds)
                    or client.eval(_RENEW, 1, name, owner, milliseconds)
                )
            )
        )

    def release(self, key: str, *, owner: str) -> None:
        """Give a claim back; that of another owner stays."""
        name = self._server.name("claim", key)
        self._server.write(lambda client: client.eval(_RELEASE, 1, name, owner))

    def transact(self, name: str, change: Callable[[State], Result]) -> Result:
        """Change a named JSON document, one process at a time, and return what `change` returns.

        If `change` raises, nothing is changed. It runs again when another process was faster.
        """
        document = self._server.name("document", name)

        def attempt(pipe: Any) -> Result:
            state = self._state(name, pipe.get(document))
            result = change(state)
            body = canonical_json(state)
            pipe.multi()
            pipe.set(document, body)
            return result

        return self._server.change(attempt, document)

    def records(self) -> Iterator[Record]:
        """Iterate over all records in the order of their keys."""
        for key, line in self._lines():
            yield self._record(key, line)

    def keys(self) -> Iterator[str]:
        """Iterate over all keys in their order, those of damaged answers included."""
        start = len(self._server.name("answer", ""))
        yield from sorted(name[start:] for name in self._server.names("answer"))

    def discard(self, key: str) -> bool:
        """Delete one answer, damaged or not; return whether there was one."""
        return self._delete([key]) == 1

    def stats(self) -> Mapping[str, Any]:
        """Return what the cache holds; reads all of it.

        Returns:
            A mapping of `answers` and `failures` (numbers), `bytes` (of the answers), `tokens`,
            `dollars` (of the answers whose price is known), `models` (name -> number of answers),
            `oldest` and `newest` (seconds since 1970, or None).
        """
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
            "failures": len(self._server.names("failure")),
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
        """Delete answers; return how many. The server forgets failures and claims by itself.

        Args:
            before: Delete what is older than this time, in seconds since 1970.
            model: Delete what this model was asked. With `before`, both have to hold.
            max_entries: Of what is left, delete the oldest beyond this number.
        """
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
        self._server.close()

    def _lines(self) -> Iterator[tuple[str, str]]:
        keys = list(self.keys())
        for start in range(0, len(keys), _PAGE):
            page = keys[start : start + _PAGE]
            lines = self._server.texts([self._server.name("answer", key) for key in page])
            # What was deleted meanwhile has no line.
            yield from ((key, line) for key, line in zip(page, lines, strict=True) if line)

    def _delete(self, keys: list[str]) -> int:
        if not keys:
            return 0
        names = [self._server.name("answer", key) for key in keys]

        def delete(client: Any) -> int:
            with client.pipeline(transaction=True) as pipe:
                pipe.delete(*names)
                pipe.zrem(self._by_age, *keys)
                return int(pipe.execute()[0])

        return self._server.write(delete)

    def _delete_oldest(self, most: int) -> int:
        def delete(pipe: Any) -> int:
            excess = max(0, pipe.zcard(self._by_age) - most)
            keys = pipe.zrange(self._by_age, 0, excess - 1) if excess else []
            pipe.multi()
            if keys:
                pipe.delete(*[self._server.name("answer", key) for key in keys])
                pipe.zrem(self._by_age, *keys)
            return len(keys)

        return self._server.change(delete, self._by_age)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "url": self._server.address.url,
            "prefix": self.prefix,
            "max_entries": self.max_entries,
            "read_only": self.read_only,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        RedisStore.__init__(self, **state)
