"""Exports of the answer cache, and bringing answers in."""

import io
import json
import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import a_record, objects, records

from llm_wrappers.errors import CacheCorruptError, CacheError
from llm_wrappers.llm.cache import open_store
from llm_wrappers.llm.cache.files import (
    ImportReport,
    export_answers,
    import_answers,
    write_answers,
)
from llm_wrappers.llm.cache.redis_store import RedisStore
from llm_wrappers.llm.cache.sqlite_store import SqliteStore
from llm_wrappers.llm.request import Request

# However slow the machine is at the moment.
examples = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
THREE = [a_record(name, name) for name in ("one", "two", "three")]


def a_store(*answers, path=":memory:"):
    store = SqliteStore(path)
    for record in answers:
        store.put(record)
    return store


def exported(store):
    file = io.BytesIO()
    write_answers(store, file)
    return file.getvalue()


@pytest.fixture
def lines(tmp_path):
    """Return an export of three answers."""
    export_answers(a_store(*THREE), tmp_path / "answers.jsonl")
    return tmp_path / "answers.jsonl"


class TestExport:
    def test_has_one_object_a_line_in_the_order_of_the_keys(self, tmp_path):
        path = tmp_path / "deep" / "answers.jsonl"
        assert export_answers(a_store(*THREE), path) == 3
        content = path.read_bytes()
        assert content.endswith(b"}\n")
        objects = [json.loads(line) for line in content.splitlines()]
        assert [item["key"] for item in objects] == sorted(record.key for record in THREE)
        assert {item["completion"]["text"] for item in objects} == {"one", "two", "three"}
        assert [path.name for path in path.parent.iterdir()] == ["answers.jsonl"]

    def test_that_fails_leaves_the_old_one(self, lines, tmp_path):
        before = lines.read_bytes()
        path = tmp_path / "cache.sqlite"
        with closing(a_store(*THREE, path=path)) as store:
            store._file.rows("UPDATE answers SET line = 'broken' WHERE key = ?", (THREE[0].key,))
            with pytest.raises(CacheCorruptError, match=THREE[0].key):
                export_answers(store, lines)
        assert lines.read_bytes() == before
        assert sorted(os.listdir(tmp_path)) == ["answers.jsonl", "cache.sqlite"]

    def test_refuses_to_replace_the_cache_itself(self, tmp_path):
        path = tmp_path / "cache.sqlite"
        with closing(a_store(*THREE, path=path)) as store:
            (tmp_path / "link").symlink_to(path)
            for target in (path, tmp_path / "link"):
                with pytest.raises(CacheError, match="which is the cache itself"):
                    export_answers(store, target)
            assert len(list(store.records())) == 3


class TestRoundTrip:
    @given(st.lists(records, max_size=6))
    @examples
    def test_gives_the_same_bytes(self, answers):
        store = a_store(*answers)
        with tempfile.TemporaryDirectory() as folder:
            first, second = Path(folder, "first"), Path(folder, "second")
            export_answers(store, first)
            other = SqliteStore(Path(folder, "other.sqlite"))
            report = import_answers(other, first)
            export_answers(other, second)
            other.close()
            assert report == ImportReport(len({record.key for record in answers}), 0)
            assert first.read_bytes() == second.read_bytes()

    @given(st.lists(records, max_size=5), st.lists(records, max_size=5))
    @examples
    def test_merging_is_idempotent_and_the_first_writer_wins(self, ours, theirs):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "theirs")
            export_answers(a_store(*theirs), path)
            store = a_store(*ours)
            before = {record.key: record for record in store.records()}
            report = import_answers(store, path)
            merged = exported(store)
            again = import_answers(store, path)
        after = {record.key: record for record in store.records()}
        theirs_by_key = {record.key: record for record in a_store(*theirs).records()}
        assert after == {**theirs_by_key, **before}
        assert report.added == len(after) - len(before)
        assert again == ImportReport(0, len(theirs_by_key))
        assert exported(store) == merged


class TestImport:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda line: line.replace(b'"text":"', b'"text":"not '), "checksum does not match"),
            (lambda line: line.replace(b'"role":"user"', b'"role":"system"'), "checksum"),
            (lambda line: line.replace(b'"key":"', b'"key":"0'), "checksum"),
            (lambda line: line[: len(line) // 2], "it is not JSON"),
            (lambda line: b"{}", "not an answer that was exported"),
            (lambda line: b"[1]", "not an answer that was exported"),
            (lambda line: b"\xff" + line, "not text in UTF-8"),
            (lambda line: line.replace(b'"format":1', b'"format":2'), "newer version"),
            (lambda line: line.replace(b'"created":1000.0', b'"created":NaN'), "no form for"),
            (lambda line: b"[" * 100_000, "it is not JSON"),
        ],
        ids=["answer", "request", "key", "cut", "empty", "list", "bytes", "newer", "nan", "deep"],
    )
    def test_leaves_out_what_does_not_hold_and_says_where(self, lines, change, reason):
        first, second, third = lines.read_bytes().splitlines()
        lines.write_bytes(b"\n".join([first, change(second), b"", third, b""]))
        store = a_store()
        report = import_answers(store, lines)
        assert (report.added, report.already_there) == (2, 0)
        (rejected,) = report.rejected
        assert rejected.startswith("line 2: ")
        assert reason in rejected
        assert store.get(json.loads(second)["key"]) is None

    @pytest.mark.parametrize("whose", ["key", "request", "completion"])
    def test_leaves_out_what_was_forged_with_a_checksum_that_fits(self, lines, whose):
        from llm_wrappers.llm.cache.store import _checksum

        fields = json.loads(lines.read_bytes().splitlines()[0])
        del fields["checksum"]
        if whose == "key":
            fields["key"] = "0" * 64
        elif whose == "request":
            fields["request"]["model"] = "another"
        else:
            fields["completion"]["texts"] = "more"
        lines.write_text(json.dumps({**fields, "checksum": _checksum(fields)}))
        (reason,) = import_answers(a_store(), lines).rejected
        assert reason.startswith("line 1: it")
        assert ("its request has the key" in reason) == (whose != "completion")

    @pytest.mark.parametrize(("name", "what"), [("nowhere", "nothing by that name"), ("", "a fol")])
    def test_a_file_that_is_none(self, tmp_path, name, what):
        store = SqliteStore(tmp_path / "cache.sqlite")
        with pytest.raises(CacheError, match=f"file to import, got {what}"):
            import_answers(store, tmp_path / name)
        assert list(tmp_path.iterdir()) == []


class TestImportOfAnotherCache:
    def test_merges(self, tmp_path):
        with closing(a_store(*THREE, path=tmp_path / "theirs.sqlite")) as theirs:
            store = a_store(a_record("one", "mine"), a_record("four"))
            report = import_answers(store, tmp_path / "theirs.sqlite")
            assert report == ImportReport(added=2, already_there=1)
            assert import_answers(store, theirs.location) == ImportReport(0, 3)
        assert store.get(a_record("one").key).completion.text == "mine"

    def test_of_itself_adds_nothing(self, tmp_path):
        path = tmp_path / "cache.sqlite"
        with closing(a_store(*THREE, path=path)) as store:
            assert import_answers(store, path) == ImportReport(0, 3)
            # Neither did it take the locks away under the one that is open.
            store.put(a_record("four"))
        with closing(SqliteStore(path)) as store:
            assert len(list(store.records())) == 4


class TestOpenStore:
    def test_kinds(self, tmp_path):
        assert isinstance(open_store(None), SqliteStore)
        assert open_store(None).location == ":memory:"
        for path in (tmp_path / "cache", str(tmp_path / "cache")):
            store = open_store(path)
            assert isinstance(store, SqliteStore)
            assert store.location == str(tmp_path / "cache")
        for url in ("redis://localhost", "rediss://localhost", "unix:///run/redis.sock"):
            assert isinstance(open_store(url), RedisStore)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "wrong", [3, object(), {"a": 1}, b"path"], ids=lambda value: type(value).__name__
    )
    def test_what_is_none(self, wrong):
        with pytest.raises(ValueError, match="cache must be None, the path of a file, a Redis URL"):
            open_store(wrong)

    @pytest.mark.parametrize("url", ["http://:s3cret@host", "sqlite:///s3cret"])
    def test_a_url_of_another_kind(self, url):
        with pytest.raises(ValueError, match="got a URL that begins with") as caught:
            open_store(url)
        assert "s3cret" not in str(caught.value)


class TestKeys:
    @given(objects, st.randoms())
    @examples
    def test_do_not_depend_on_the_order_of_dicts(self, content, random):
        def shuffled(value):
            if isinstance(value, dict):
                items = [(name, shuffled(item)) for name, item in value.items()]
                random.shuffle(items)
                return dict(items)
            return [shuffled(item) for item in value] if isinstance(value, list) else value

        one = Request(model="m", messages=(content,), params=content, answer_schema=content)
        other = shuffled(content)
        assert Request(model="m", messages=(other,), params=other, answer_schema=other).key == (
            one.key
        )

    @pytest.mark.slow
    def test_do_not_depend_on_the_hash_seed(self):
        code = (
            "from llm_wrappers.llm.request import Request\n"
            "names = list({'temperature', 'seed', 'stop', 'top_p', 'user', 'n'})\n"
            "params = {name: [name] for name in names}\n"
            "schema = {'properties': {name: {'type': 'string'} for name in names}}\n"
            "print(names, Request(model='m', messages=(), params=params, answer_schema=schema).key)"
        )
        told = {
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True,
                env={**os.environ, "PYTHONHASHSEED": str(seed)},
            ).stdout
            for seed in range(4)
        }  # fmt: skip
        orders, keys = zip(*(line.rsplit(maxsplit=1) for line in told), strict=True)
        assert len(set(orders)) > 1
        assert len(set(keys)) == 1
