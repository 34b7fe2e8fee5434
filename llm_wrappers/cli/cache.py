"""`llm-wrappers cache`: look into answer caches, move answers between them, delete some."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any

from llm_wrappers.cli._options import Commands, count, duration
from llm_wrappers.errors import (
    CacheError,
    DependencyNotInstalled,
    InvalidOptionError,
    require,
)
from llm_wrappers.llm.cache import open_store
from llm_wrappers.llm.cache.files import Progress, export_answers, import_answers, write_answers
from llm_wrappers.llm.cache.redis_store import RedisStore
from llm_wrappers.llm.cache.sqlite_store import SqliteStore
from llm_wrappers.llm.cache.store import DamagedAnswerError, Record
from llm_wrappers.llm.request import canonical_json

__all__ = ["add_command"]

Store = SqliteStore | RedisStore

_INCOMPLETE = 1
_MOST_REASONS = 20
_WIDTH = 10
# A model's answer could otherwise move the cursor, or rename the terminal.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def add_command(commands: Commands) -> None:
    """Add the command to those that there are."""
    about = "look into answer caches, move answers between them, delete some"
    cache = commands.add_parser("cache", help=about, description=f"{about.capitalize()}.")
    actions = cache.add_subparsers(title="actions", required=True)

    _add(actions, "stats", _stats, "say what a cache holds and what it cost")

    show = _add(actions, "show", _show, "print requests with their answers")
    which = show.add_mutually_exclusive_group()
    which.add_argument("key", nargs="?", default="", metavar="KEY-PREFIX", help="how keys begin")
    which.add_argument("--search", metavar="TEXT", help="what prompt, answer or model contain")
    show.add_argument("--limit", type=count, default=10, metavar="N", help="at most (default: 10)")

    export = _add(actions, "export", _export, "write all answers as JSON lines")
    export.add_argument("file", metavar="FILE.jsonl", help='where to; "-" for the standard output')

    bring = _add(actions, "import", _import, "add the answers of exports or of other caches")
    bring.add_argument("files", nargs="+", metavar="FILE", help="an export, or a cache file")

    prune = _add(actions, "prune", _prune, "delete answers; without options, what has expired")
    prune.add_argument("--older-than", type=duration, metavar="AGE", help="such as 12h, 30d or 8w")
    prune.add_argument("--model", metavar="NAME", help="only answers to what this model was asked")
    prune.add_argument("--max-entries", type=count, metavar="N", help="keep the N newest at most")
    prune.add_argument("--damaged", action="store_true", help="answers that cannot be used")
    prune.add_argument("--dry-run", action="store_true", help="only say how many would go")


def _add(
    actions: Commands, name: str, run: Callable[[argparse.Namespace], int], about: str
) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}."
    )
    action.add_argument("cache", metavar="CACHE", help="the file of a cache, or a Redis URL")
    action.set_defaults(run=run)
    return action


def _stats(options: argparse.Namespace) -> int:
    with closing(_opened(options.cache, read_only=True)) as store:
        print(_stats_text(store.location, store.stats()))
    return 0


def _show(options: argparse.Namespace) -> int:
    text = (options.search or "").lower()
    with closing(_opened(options.cache, read_only=True)) as store:
        found = (
            record
            for record in _records(store, options.key.lower())
            if not text or text in _searchable(record)
        )
        shown = 0
        for record in islice(found, options.limit):
            print(_record_text(record))
            shown += 1
        if shown == options.limit and next(found, None) is not None:
            _say(f"there are more; `--limit {10 * options.limit}` shows more")
    if not shown:
        _say("no answer matches")
    return 0 if shown else _INCOMPLETE


def _export(options: argparse.Namespace) -> int:
    with closing(_opened(options.cache, read_only=True)) as store:
        if options.file == "-":
            write_answers(store, sys.stdout.buffer)
            return 0
        progress = _progress("export", total=store.stats()["answers"])
        number = export_answers(store, options.file, progress=progress)
    print(f"{number:,} answers are in {options.file}")
    return 0


def _import(options: argparse.Namespace) -> int:
    complete = True
    with closing(_opened(options.cache)) as store:
        for file in options.files:
            report = import_answers(store, file, progress=_progress("import"))
            print(
                f"{file}: {report.added:,} added, {report.already_there:,} already there, "
                f"{len(report.rejected):,} rejected"
            )
            for reason in report.rejected[:_MOST_REASONS]:
                _say(f"{file}: {reason}")
            if len(report.rejected) > _MOST_REASONS:
                _say(f"{file}: and {len(report.rejected) - _MOST_REASONS:,} more")
            complete = complete and not report.rejected
    return 0 if complete else _INCOMPLETE


def _prune(options: argparse.Namespace) -> int:
    before = None if options.older_than is None else time.time() - options.older_than
    conditions = {"before": before, "model": options.model, "max_entries": options.max_entries}
    with closing(_opened(options.cache, read_only=options.dry_run)) as store:
        _refuse_a_missing_file(store)
        damaged = list(_damaged(store)) if options.damaged else []
        if options.dry_run:
            gone = len(damaged) + _number_that_would_go(store, **conditions)
        else:
            gone = sum(store.discard(key) for key in damaged) + store.prune(**conditions)
    print(f"{gone:,} answers {'would be' if options.dry_run else 'were'} deleted")
    return 0


def _opened(cache: str, *, read_only: bool = False) -> Store:
    store = open_store(cache, read_only=read_only)
    if not isinstance(store, SqliteStore | RedisStore) or store.location == ":memory:":
        raise InvalidOptionError(f"expected the file of a cache, or a Redis URL, got {cache}")
    return store


def _refuse_a_missing_file(store: Store) -> None:
    if isinstance(store, SqliteStore) and not os.path.exists(store.location):
        raise CacheError(f"expected an answer cache, got {store.location}, which does not exist")


def _records(store: Store, prefix: str = "") -> Iterator[Record]:
    for key in store.keys():  # noqa: SIM118 - a store is no mapping
        if key.startswith(prefix):
            try:
                record = store.get(key)
            except DamagedAnswerError as error:
                _say(str(error))
            else:
                if record is not None:
                    yield record


def _damaged(store: Store) -> Iterator[str]:
    for key in store.keys():  # noqa: SIM118 - a store is no mapping
        try:
            store.get(key)
        except DamagedAnswerError:
            yield key


def _number_that_would_go(
    store: Store, *, before: float | None, model: str | None, max_entries: int | None
) -> int:
    total = stays = 0
    for record in _records(store):
        total += 1
        conditions = [
            *([] if before is None else [record.created < before]),
            *([] if model is None else [record.request.model == model]),
        ]
        stays += not conditions or not all(conditions)
    return total - (stays if max_entries is None else min(stays, max_entries))


def _progress(label: str, *, total: int | None = None) -> Progress:
    try:
        tqdm = require("tqdm", extra="llm").tqdm
    except DependencyNotInstalled:
        return iter
    # Without a terminal it shows nothing.
    return partial(tqdm, desc=label, total=total, unit=" answers", leave=False, disable=None)


def _say(text: str) -> None:
    print(f"llm-wrappers: {_printable(text)}", file=sys.stderr)


def _printable(text: str) -> str:
    """Return a text that any terminal can show and none obeys."""
    shown = _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _stats_text(location: str, stats: Mapping[str, Any]) -> str:
    """Return the statistics of a cache as a table."""
    rows = [
        ("cache", location),
        ("answers", f"{stats['answers']:,}"),
        ("failures", f"{stats['failures']:,} remembered"),
        ("size", f"{stats['bytes']:,} bytes"),
        ("tokens", f"{stats['tokens']:,}"),
        ("dollars", f"{stats['dollars']:,.4f} (where the price is known)"),
        ("oldest", _moment(stats["oldest"])),
        ("newest", _moment(stats["newest"])),
        *(("model", f"{name}: {number:,}") for name, number in stats["models"].items()),
    ]
    return _printable("\n".join(f"{name:<{_WIDTH}}{text}" for name, text in rows))


def _record_text(record: Record) -> str:
    """Return a request with its answer."""
    request, said = record.request, record.completion
    rows = {
        "key": record.key,
        "model": request.model,
        "answered": f"by {said.model or request.model} on {_moment(record.created)}",
        "cost": f"{said.tokens:,} tokens, {_price(said.dollars)}, {said.seconds:.1f} s",
        "finish": said.finish_reason,
        "params": canonical_json(request.params) if request.params else "",
        "schema": canonical_json(request.answer_schema) if request.answer_schema else "",
        "sample": str(request.sample) if request.sample else "",
        "version": request.prompt_version,
    }
    head = "\n".join(f"{name:<{_WIDTH}}{text}" for name, text in rows.items() if text)
    turns = [(str(message.get("role", "")), message.get("content")) for message in request.messages]
    body = "\n".join(f"--- {role}\n{_content(text)}" for role, text in turns)
    return _printable(f"{head}\n{body}\n--- answer\n{said.text}\n")


def _searchable(record: Record) -> str:
    """Return all text of a request and its answer, in lower case."""
    contents = [_content(message.get("content")) for message in record.request.messages]
    return "\n".join([record.request.model, *contents, record.completion.text]).lower()


def _content(content: Any) -> str:
    return content if isinstance(content, str) else canonical_json(content)


def _price(dollars: float | None) -> str:
    return "price unknown" if dollars is None else f"${dollars:.6f}"


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
