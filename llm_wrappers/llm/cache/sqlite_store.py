"""The answer cache in one SQLite file, shared by threads and processes of one machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.cache.store import Failure, Record, State, StoreBase, line_of
from llm_wrappers.llm.request import canonical_json
from llm_wrappers.storage.sqlite_file import FileKind, SqliteFile

__all__ = ["SqliteStore"]

Result = TypeVar("Result")

_IN_MEMORY = ":memory:"
_PAGE = 256
_SCHEMA = (
    """CREATE TABLE answers (
        key TEXT PRIMARY KEY,
        model TEXT NOT NULL,
        created REAL NOT NULL,
        tokens INTEGER NOT NULL,
        dollars REAL,
        line TEXT NOT NULL
    )""",
    "CREATE INDEX answers_by_age ON answers (created, key)",
    "CREATE TABLE failures (key TEXT PRIMARY KEY, expires REAL NOT NULL, body TEXT NOT NULL)",
    "CREATE TABLE claims (key TEXT PRIMARY KEY, expires REAL NOT NULL, owner TEXT NOT NULL)",
    "CREATE TABLE documents (name TEXT PRIMARY KEY, body TEXT NOT NULL)",
    # The number of answers is kept, because counting the rows takes longer the more there are.
    "CREATE TABLE totals (answers INTEGER NOT NULL)",
    "INSERT INTO totals VALUES (0)",
    """CREATE TRIGGER answer_came AFTER INSERT ON answers
        BEGIN UPDATE totals SET answers = answers + 1; END""",
    """CREATE TRIGGER answer_went AFTER DELETE ON answers
        BEGIN UPDATE totals SET answers = answers - 1; END""",
)
_ANSWERS = FileKind(
    name="answer cache",
    article="an",
    application_id=b"LLMW",
    version=1,
    schema=_SCHEMA,
    when_read_only=("or copy the cache with `llm-wrappers cache import NEW_CACHE OLD_CACHE`"),
    when_damaged=(
        ": bring back what you exported with `llm-wrappers cache import {path} EXPORT.jsonl`"
    ),
    is_foreign=lambda beginning: beginning.startswith(b"{"),
    when_foreign=(
        "which looks like JSON lines; it was left untouched; read it with "
        "`llm-wrappers cache import CACHE {path}`"
    ),
)


class SqliteStore(StoreBase):
    """Answers in one SQLite file; nothing is opened, or made, before first use.

    Keep the file on a local disk: SQLite's locks do not hold between machines. Machines share
    a `RedisStore`, or exports.

    A damaged file is set aside under another name and reported; a single damaged answer is
    reported, never returned and never asked again unasked.

    Args:
        path: The file; a missing one is created with its folder. ``":memory:"`` keeps the answers
            in this object only: a pickle of it is empty.
        max_entries: Beyond this number the oldest answers are deleted; None keeps all.
        read_only: Whether to refuse every change; then the file has to exist.

    Raises:
        InvalidOptionError: If an option has a wrong value.

    >>> from llm_wrappers.llm.answer import Completion
    >>> from llm_wrappers.llm.request import Request, as_messages
    >>> request = Request(model="openai/gpt-5-mini", messages=as_messages("Where is water?"))
    >>> store = SqliteStore(":memory:")
    >>> kept = store.put(Record(request=request, completion=Completion(text="West"), created=0.0))
    >>> store.get(request.key).completion.text
    'West'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_entries: int | None = None,
        read_only: bool = False,
    ) -> None:
        if not isinstance(path, (str, os.PathLike)) or "\0" in os.fspath(path):
            raise InvalidOptionError(f"expected the path of a file, got {path!r}")
        in_memory = os.fspath(path) == _IN_MEMORY
        file = None if in_memory else Path(os.path.abspath(os.path.expanduser(path)))
        self.max_entries: int | None = checks.whole(
            "max_entries", max_entries, least=1, or_none="to keep all"
        )
        self._file = SqliteFile(file, _ANSWERS, read_only=read_only)

    @property
    def location(self) -> str:
        """The path of the file, or ``":memory:"``."""
        return self._file.location

    @property
    def read_only(self) -> bool:
        """Whether every change is refused."""
        return self._file.read_only

    def get(self, key: str) -> Record | None:
        """Return the record of a key, or None; a damaged one is a `CacheCorruptError`."""
        line = self._first("SELECT line FROM answers WHERE key = ?", key)
        return None if line is None else self._record(key, line)

    def put(self, record: Record, *, replace: bool = False) -> Record:
        """Keep a record, forget its failure and its claim; return the one that is kept.

        Without `replace` the first writer wins. A damaged answer does not count as one.
        """
        key, line = record.key, line_of(record)
        with self._file.transaction():
            kept = None
            if not replace:
                kept = self._intact(key, self._first("SELECT line FROM answers WHERE key = ?", key))
            if kept is None:
                completion = record.completion
                self._file.run(
                    "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                    "model = excluded.model, created = excluded.created, tokens = excluded.tokens, "
                    "dollars = excluded.dollars, line = excluded.line",
                    (
                        key, record.request.model, record.created, completion.tokens,
                        completion.dollars, line,
                    ),
                )  # fmt: skip
                if self.max_entries is not None:
                    self._delete_oldest(self.max_entries)
            self._file.run("DELETE FROM failures WHERE key = ?", (key,))
            self._file.run("DELETE FROM claims WHERE key = ?", (key,))
        return record if kept is None else kept

    def failure(self, key: str) -> Failure | None:
        """Return the remembered failure of a key that has not expired, or None."""
        return self._failure(
            self._first("SELECT body FROM failures WHERE key = ? AND expires > ?", key, time.time())
        )

    def put_failure(self, key: str, failure: Failure) -> None:
        """Remember a failure."""
        with self._file.transaction():
            self._file.run(
                "REPLACE INTO failures VALUES (?, ?, ?)",
                (key, failure.expires, canonical_json(failure.model_dump(mode="json"))),
            )

    def claim(self, key: str, *, owner: str, seconds: float) -> bool:
        """Try to become the one who asks for a key; an owner may claim again, to have it longer."""
        now = time.time()
        with self._file.transaction():
            changed = self._file.run(
                "INSERT INTO claims VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                "expires = excluded.expires, owner = excluded.owner "
                "WHERE claims.expires <= ? OR claims.owner = excluded.owner",
                (key, now + seconds, owner, now),
            )
        return changed == 1

    def release(self, key: str, *, owner: str) -> None:
        """Give a claim back; that of another owner stays."""
        with self._file.transaction():
            self._file.run("DELETE FROM claims WHERE key = ? AND owner = ?", (key, owner))

    def transact(self, name: str, change: Callable[[State], Result]) -> Result:
        """Change a named JSON document; if `change` raises, nothing is changed."""
        with self._file.transaction():
            body = self._first("SELECT body FROM documents WHERE name = ?", name)
            state = self._state(name, body)
            result = change(state)
            self._file.run("REPLACE INTO documents VALUES (?, ?)", (name, canonical_json(state)))
        return result

    def records(self) -> Iterator[Record]:
        """Iterate over all records in the order of their keys, without locking the file."""
        for key, line in self._pages("key, line"):
            yield self._record(key, line)

    def keys(self) -> Iterator[str]:
        """Iterate over all keys in their order, those of damaged answers included."""
        for (key,) in self._pages("key"):
            yield key

    def discard(self, key: str) -> bool:
        """Delete one answer, damaged or not; return whether there was one."""
        with self._file.transaction():
            return self._file.run("DELETE FROM answers WHERE key = ?", (key,)) == 1

    def stats(self) -> Mapping[str, Any]:
        """Return what the cache holds, see `AnswerStore`."""
        ((answers, tokens, dollars, oldest, newest),) = self._file.rows(
            "SELECT count(*), total(tokens), total(dollars), min(created), max(created) "
            "FROM answers"
        )
        ((failures,),) = self._file.rows(
            "SELECT count(*) FROM failures WHERE expires > ?", (time.time(),)
        )
        models = self._file.rows(
            "SELECT model, count(*) FROM answers GROUP BY model ORDER BY model"
        )
        return {
            "answers": answers,
            "failures": failures,
            "bytes": self._file.size(),
            "tokens": int(tokens),
            "dollars": dollars,
            "models": dict(models),
            "oldest": oldest,
            "newest": newest,
        }

    def prune(
        self,
        *,
        before: float | None = None,
        model: str | None = None,
        max_entries: int | None = None,
    ) -> int:
        """Delete answers, expired failures and expired claims; return how many answers went."""
        checks.whole("max_entries", max_entries, least=1, or_none="to keep all")
        given = {"created < ?": before, "model = ?": model}
        wanted = {condition: value for condition, value in given.items() if value is not None}
        now, gone = time.time(), 0
        with self._file.transaction():
            if wanted:
                gone += self._file.run(
                    f"DELETE FROM answers WHERE {' AND '.join(wanted)}", list(wanted.values())
                )
            if max_entries is not None:
                gone += self._delete_oldest(max_entries)
            self._file.run("DELETE FROM failures WHERE expires <= ?", (now,))
            self._file.run("DELETE FROM claims WHERE expires <= ?", (now,))
        self._file.shrink()
        return gone

    def close(self) -> None:
        """Close the file; a later call opens it again. Answers in memory stay."""
        self._file.close()

    def _first(self, query: str, *values: Any) -> Any:
        rows = self._file.rows(query, values)
        return rows[0][0] if rows else None

    def _pages(self, columns: str) -> Iterator[Any]:
        last = ""
        query = f"SELECT {columns} FROM answers WHERE key > ? ORDER BY key LIMIT {_PAGE}"
        while page := self._file.rows(query, (last,)):
            yield from page
            last = page[-1][0]

    def _delete_oldest(self, most: int) -> int:
        ((answers,),) = self._file.rows("SELECT answers FROM totals")
        if answers <= most:
            return 0
        return self._file.run(
            "DELETE FROM answers WHERE key IN "
            "(SELECT key FROM answers ORDER BY created, key LIMIT ?)",
            (answers - most,),
        )

    def __getstate__(self) -> dict[str, Any]:
        return {
            "path": self.location, "max_entries": self.max_entries, "read_only": self.read_only,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        SqliteStore.__init__(self, **state)
