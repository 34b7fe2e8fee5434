"""The `llm-wrappers cache` command."""

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import closing

import pytest

from llm_wrappers import cli
from llm_wrappers.llm import Completion
from llm_wrappers.llm.cache.redis_store import RedisStore
from llm_wrappers.llm.cache.sqlite_store import SqliteStore
from llm_wrappers.llm.cache.store import Failure, Record
from llm_wrappers.llm.request import Request, as_messages

USER_ERROR = 2
DAY = 86_400


def a_record(prompt, answer, *, model="openai/gpt-5-mini", age=0.0, **said):
    request = Request(model=model, messages=as_messages(prompt), params={"temperature": 0})
    completion = Completion(text=answer, **said)
    return Record(request=request, completion=completion, created=time.time() - age * DAY)


WATER = a_record("Where is water?", "West.", age=40, prompt_tokens=1200, dollars=0.25)
IRON = a_record("Where is iron?", "Under the HILL.", age=20, prompt_tokens=34, dollars=0.5)
SAND = a_record("Where is sand?", "East.", model="local/llama", age=0)


@pytest.fixture
def cache(tmp_path):
    path = tmp_path / "cache.sqlite"
    with closing(SqliteStore(path)) as store:
        for record in (WATER, IRON, SAND):
            store.put(record)
    return path


def damage(path, record):
    with closing(SqliteStore(path)) as store:
        store._file.rows("UPDATE answers SET line = 'broken' WHERE key = ?", (record.key,))


def texts(path):
    with closing(SqliteStore(path, read_only=True)) as store:
        return sorted(record.completion.text for record in store.records())


@pytest.fixture
def run(capsys):
    def run(*arguments):
        """Return the exit status, stdout and stderr of the command."""
        try:
            status = cli.main(["cache", *map(str, arguments)])
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return run


def in_a_process(*arguments, **options):
    command = [sys.executable, "-m", "llm_wrappers.cli", "cache", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


class TestStats:
    def test_is_a_table(self, run, cache):
        with closing(SqliteStore(cache)) as store:
            expires = time.time() + 100
            store.put_failure("a", Failure(kind="x", message="y", preview="z", expires=expires))
        status, out, err = run("stats", cache)
        assert (status, err) == (0, "")
        rows = [line.split(maxsplit=1) for line in out.splitlines()]
        table = [row for row in rows if row[0] not in ("size", "oldest", "newest")]
        assert table == [
            ["cache", str(cache)],
            ["answers", "3"],
            ["failures", "1 remembered"],
            ["tokens", "1,234"],
            ["dollars", "0.7500 (where the price is known)"],
            ["model", "local/llama: 1"],
            ["model", "openai/gpt-5-mini: 2"],
        ]
        assert re.search(r"^size      [\d,]+ bytes$", out, re.MULTILINE)
        day = time.strftime("%Y-%m-%d", time.localtime(WATER.created))
        assert re.search(rf"^oldest    {day} \d\d:\d\d:\d\d$", out, re.MULTILINE)

    def test_of_a_redis_server(self, run, monkeypatch):
        monkeypatch.setattr(RedisStore, "stats", SqliteStore(":memory:").stats)
        status, out, _ = run("stats", "redis://:s3cret@localhost:7000/2")
        assert status == 0
        assert out.startswith("cache     redis://localhost:7000/2\n")
        assert "s3cret" not in out


class TestShow:
    def test_prints_all_that_was_asked_and_answered(self, run, cache):
        status, out, err = run("show", cache, WATER.key[:10])
        assert (status, err) == (0, "")
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(WATER.created))
        assert out.splitlines() == [
            f"key       {WATER.key}",
            "model     openai/gpt-5-mini",
            f"answered  by openai/gpt-5-mini on {moment}",
            "cost      1,200 tokens, $0.250000, 0.0 s",
            "finish    stop",
            'params    {"temperature":0}',
            "--- user",
            "Where is water?",
            "--- answer",
            "West.",
            "",
        ]

    @pytest.mark.parametrize(
        ("arguments", "answers"),
        [
            ([], {"West.", "Under the HILL.", "East."}),
            (["--search", "where is"], {"West.", "Under the HILL.", "East."}),
            (["--search", "the hill"], {"Under the HILL."}),
            (["--search", "WATER"], {"West."}),
            (["--search", "llama"], {"East."}),
            ([SAND.key.upper()[:8]], {"East."}),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "finds",
    )
    def test_finds(self, run, cache, arguments, answers):
        status, out, _ = run("show", cache, *arguments)
        assert status == 0
        assert set(re.findall(r"--- answer\n(.*)\n", out)) == answers

    @pytest.mark.parametrize("arguments", [["--search", "gold"], ["zzz"]])
    def test_finds_nothing(self, run, cache, arguments):
        assert run("show", cache, *arguments) == (1, "", "llm-wrappers: no answer matches\n")

    def test_limits(self, run, cache):
        status, out, err = run("show", cache, "--limit", 2)
        assert status == 0
        assert out.count("--- answer") == 2
        assert err == "llm-wrappers: there are more; `--limit 20` shows more\n"
        assert run("show", cache, "--limit", 3)[2] == ""

    def test_goes_on_after_a_damaged_answer(self, run, cache):
        damage(cache, IRON)
        status, out, err = run("show", cache)
        assert status == 0
        assert out.count("--- answer") == 2
        assert f"the answer with the key {IRON.key}" in err

    def test_an_answer_cannot_rule_the_terminal(self, run, cache):
        with closing(SqliteStore(cache)) as store:
            store.put(a_record("colour", "\x1b[31mred\x07\ttab\r\x9b \ud800 ü"))
        _, out, _ = run("show", cache, "--search", "colour")
        assert "\\x1b[31mred\\x07\ttab\\x0d\\x9b \\ud800 ü\n" in out


class TestExportAndImport:
    def test_round_trip(self, run, cache, tmp_path):
        first, second, other = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "other.sqlite"))
        assert run("export", cache, first) == (0, f"3 answers are in {first}\n", "")
        assert run("import", other, first) == (
            0, f"{first}: 3 added, 0 already there, 0 rejected\n", "",
        )  # fmt: skip
        assert run("import", other, first, cache)[1].splitlines() == [
            f"{first}: 0 added, 3 already there, 0 rejected",
            f"{cache}: 0 added, 3 already there, 0 rejected",
        ]
        run("export", other, second)
        assert first.read_bytes() == second.read_bytes()

    def test_says_what_was_rejected(self, run, cache, tmp_path):
        path = tmp_path / "a.jsonl"
        run("export", cache, path)
        path.write_text("broken\n" * 25 + path.read_text().replace("West.", "East."))
        status, out, err = run("import", tmp_path / "other.sqlite", path)
        assert status == 1
        assert out == f"{path}: 2 added, 0 already there, 26 rejected\n"
        lines = err.splitlines()
        assert lines[0] == f"llm-wrappers: {path}: line 1: it is not JSON"
        assert lines[-1] == f"llm-wrappers: {path}: and 6 more"
        assert len(lines) == 21

    def test_mends_a_damaged_answer(self, run, cache, tmp_path):
        run("export", cache, tmp_path / "a.jsonl")
        damage(cache, WATER)
        status, out, err = run("export", cache, tmp_path / "b.jsonl")
        assert (status, out) == (USER_ERROR, "")
        assert "is damaged" in err
        assert not (tmp_path / "b.jsonl").exists()
        assert "1 added, 2 already there" in run("import", cache, tmp_path / "a.jsonl")[1]
        assert run("export", cache, tmp_path / "b.jsonl")[0] == 0

    def test_needs_no_bar(self, run, cache, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "tqdm", None)
        assert run("export", cache, tmp_path / "a.jsonl")[0] == 0
        assert run("import", tmp_path / "other.sqlite", tmp_path / "a.jsonl")[0] == 0


class TestPrune:
    @pytest.mark.parametrize(
        ("options", "left"),
        [
            ([], ["East.", "Under the HILL.", "West."]),
            (["--older-than", "30d"], ["East.", "Under the HILL."]),
            (["--older-than", "2w"], ["East."]),
            (["--older-than", "1.5h"], ["East."]),
            (["--model", "openai/gpt-5-mini"], ["East."]),
            (["--model", "openai/gpt-5-mini", "--older-than", "30d"], ["East.", "Under the HILL."]),
            (["--max-entries", "2"], ["East.", "Under the HILL."]),
            (["--max-entries", "1", "--model", "local/llama"], ["Under the HILL."]),
            (["--max-entries", "5"], ["East.", "Under the HILL.", "West."]),
        ],
        ids=" ".join,
    )
    def test_deletes_and_says_how_many(self, run, cache, options, left):
        gone = 3 - len(left)
        before = cache.read_bytes()
        assert run("prune", cache, *options, "--dry-run") == (
            0, f"{gone} answers would be deleted\n", "",
        )  # fmt: skip
        assert cache.read_bytes() == before
        assert run("prune", cache, *options) == (0, f"{gone} answers were deleted\n", "")
        assert texts(cache) == left

    def test_damaged_ones(self, run, cache):
        damage(cache, IRON)
        assert run("prune", cache, "--damaged", "--dry-run")[1] == "1 answers would be deleted\n"
        assert run("prune", cache, "--damaged")[1] == "1 answers were deleted\n"
        assert texts(cache) == ["East.", "West."]


class TestMistakes:
    @pytest.mark.parametrize("action", ["stats", "show", "export", "prune"])
    def test_a_cache_that_is_not_there_is_not_made(self, run, tmp_path, action):
        path = tmp_path / "nowhere.sqlite"
        more = [tmp_path / "a.jsonl"] if action == "export" else []
        status, out, err = run(action, path, *more)
        assert (status, out) == (USER_ERROR, "")
        (line,) = err.splitlines()
        assert line.startswith("llm-wrappers: expected an answer cache")
        assert f"got {path}, which does not exist" in line
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "arguments are required"),
            (["stats"], "the following arguments are required: CACHE"),
            (["look", "c"], "invalid choice: 'look'"),
            (["show", "c", "abc", "--search", "x"], "not allowed with argument"),
            (["show", "c", "--limit", "0"], "expected a whole number >= 1, got '0'"),
            (["export", "c"], "the following arguments are required: FILE.jsonl"),
            (["import", "c"], "the following arguments are required: FILE"),
            (["prune", "c", "--older-than", "30"], "expected a number and one of s, m, h, d, w"),
            (["prune", "c", "--older-than", "-3d"], "expected one argument"),
            (["prune", "c", "--max-entries", "none"], "expected a whole number >= 1, got 'none'"),
        ],
        ids=" ".join,
    )
    def test_a_command_line_that_cannot_be_read(self, run, arguments, message):
        status, out, err = run(*arguments)
        assert (status, out) == (USER_ERROR, "")
        assert message in err.splitlines()[-1]

    @pytest.mark.parametrize(
        ("cache", "message"),
        [
            ("http://:s3cret@host", "got a URL that begins with http://"),
            ("redis://:s3cret/@host", "expected a Redis URL such as"),
            (":memory:", "expected the file of a cache, or a Redis URL, got :memory:"),
            ("redis://:s3cret@127.0.0.1:1/0", "cannot use the answer cache redis://127.0.0.1:1/0"),
        ],
    )
    def test_a_cache_that_is_none(self, run, cache, message):
        status, out, err = run("stats", cache)
        assert (status, out) == (USER_ERROR, "")
        (line,) = err.splitlines()
        assert message in line
        assert "s3cret" not in line

    def test_a_damaged_file_is_only_set_aside_by_what_writes(self, run, cache, tmp_path):
        run("export", cache, tmp_path / "a.jsonl")
        cache.write_bytes(b"no database" * 100)
        for action in (["stats"], ["show"], ["export"]):
            more = [tmp_path / "b.jsonl"] if action == ["export"] else []
            status, _, err = run(*action, cache, *more)
            assert status == USER_ERROR
            assert "was left where it is" in err
        assert cache.read_bytes() == b"no database" * 100
        status, _, err = run("import", cache, tmp_path / "a.jsonl")
        assert status == USER_ERROR
        assert "was set aside as" in err
        assert run("import", cache, tmp_path / "a.jsonl")[0] == 0
        assert len(texts(cache)) == 3

    def test_exporting_over_the_cache(self, run, cache):
        status, _, err = run("export", cache, cache)
        assert status == USER_ERROR
        assert "which is the cache itself" in err
        assert len(texts(cache)) == 3


def as_nobody(*arguments):
    """Run the command without the rights of the superuser, who may write everything."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    os._exit(cli.main(["cache", *map(str, arguments)]))


@pytest.mark.slow
class TestCachesThatCannotBeWritten:
    @pytest.fixture
    def frozen(self, cache):
        with tempfile.TemporaryDirectory() as folder:
            path = shutil.copy(cache, folder)
            os.chmod(path, 0o444)
            os.chmod(folder, 0o555)
            yield path
            os.chmod(folder, 0o755)

    @pytest.mark.parametrize(
        ("action", "more", "status"),
        [
            ("stats", [], 0),
            ("show", [], 0),
            ("export", ["-"], 0),
            ("prune", ["--older-than", "30d", "--dry-run"], 0),
            ("prune", ["--older-than", "30d"], USER_ERROR),
        ],
    )
    def test_are_read(self, frozen, action, more, status):
        with warnings.catch_warnings():
            # Later versions of Python warn of a fork beside threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = multiprocessing.get_context("fork").Process(
                target=as_nobody, args=(action, frozen, *more)
            )
            process.start()
        process.join()
        assert process.exitcode == status
        assert len(texts(frozen)) == 3


class TestClosedPipes:
    def test_end_the_command_quietly(self, cache):
        with closing(SqliteStore(cache)) as store:
            for number in range(300):
                store.put(a_record(f"more {number}", "long " * 200))
        process = in_a_process("export", cache, "-")
        first = process.stdout.readline()
        process.stdout.close()
        with process.stderr:
            said = process.stderr.read()
        assert (process.wait(), said) == (141, b"")
        assert first.startswith(b"{")
