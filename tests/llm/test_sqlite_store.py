"""The answer cache in an SQLite file: what may happen to a file."""

import os
import pickle
import resource
import signal
import sqlite3
import stat
import tempfile
import threading
import time
import warnings
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import a_failure, a_record

from llm_wrappers.errors import (
    CacheCorruptError,
    CacheError,
    CacheReadOnlyError,
    CacheVersionError,
    InvalidOptionError,
)
from llm_wrappers.llm.cache.sqlite_store import _ANSWERS, SqliteStore
from llm_wrappers.storage import sqlite_file as _sqlite_opening
from llm_wrappers.storage.sqlite_file import SqliteFile, _file_id

NOBODY = 65534
RECORD = a_record()
KEY = RECORD.key


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache.sqlite"


@pytest.fixture
def store(path):
    store = SqliteStore(path)
    yield store
    store.close()


def filled(path, number=200):
    with closing(SqliteStore(path)) as store:
        for prompt in range(number):
            store.put(a_record(f"prompt {prompt}"))
        store.put(RECORD)
    return path


def ask(path, sql, *values):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql, values).fetchall()


def set_aside(path):
    found = path.parent.glob(f"{path.name}.corrupt-*")
    return sorted(name for name in found if not name.name.endswith(("-wal", "-shm")))


def in_a_child(function, *, user=None):
    """Run a function in a forked process; raise here what it raised there."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Later versions of Python warn of a fork beside threads, which is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            if user is not None and os.getuid() == 0:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            outcome = pickle.dumps((function(), None))
        except BaseException as error:
            outcome = pickle.dumps((None, error))
        with suppress(BaseException), open(writer, "wb") as end:
            end.write(outcome)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as end:
        result, error = pickle.loads(end.read())
    os.waitpid(child, 0)
    if error is not None:
        raise error
    return result


@pytest.fixture
def public_folder():
    """Return a folder that a user without rights can enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


class TestTheFile:
    def test_is_made_with_its_folder_by_the_first_use(self, tmp_path):
        path = tmp_path / "deep" / "folder" / "cache.sqlite"
        store = SqliteStore(path)
        assert list(tmp_path.iterdir()) == []
        assert store.location == str(path)
        assert store.get(KEY) is None
        assert path.exists()
        store.close()

    def test_has_a_log_a_version_and_an_owner(self, store, path):
        store.put(RECORD)
        assert Path(f"{path}-wal").exists()
        assert ask(path, "PRAGMA journal_mode") == [("wal",)]
        assert ask(path, "PRAGMA user_version") == [(1,)]
        assert ask(path, "PRAGMA application_id") == [(int.from_bytes(b"LLMW", "big"),)]

    @pytest.mark.parametrize("how", ["closed", "forgotten"])
    def test_is_one_file_when_it_is(self, path, how):
        store = SqliteStore(path)
        store.put(RECORD)
        if how == "closed":
            store.close()
        else:
            del store
        assert os.listdir(path.parent) == [path.name]

    def test_can_be_read_by_people(self, store, path):
        store.put(RECORD)
        ((line,),) = ask(path, "SELECT line FROM answers")
        assert '"content":"Where is water?"' in line
        assert '"text":"West"' in line

    def test_stays_the_same_when_the_working_folder_changes(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        store = SqliteStore("cache.sqlite")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        store.put(RECORD)
        store.close()
        assert (tmp_path / "cache.sqlite").exists()

    def test_in_the_home_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        store = SqliteStore("~/cache.sqlite")
        assert store.location == str(tmp_path / "cache.sqlite")

    @pytest.mark.parametrize("name", ["a b#c?d%20e&mode=ro", "ü🦀.sqlite", "100%"])
    def test_may_have_any_name(self, tmp_path, name):
        with closing(SqliteStore(tmp_path / name)) as store:
            store.put(RECORD)
            assert (tmp_path / name).exists()
        with closing(SqliteStore(tmp_path / name, read_only=True)) as store:
            assert store.get(KEY) == RECORD

    def test_behind_a_link(self, tmp_path, path):
        (tmp_path / "link").symlink_to(path)
        with closing(SqliteStore(tmp_path / "link")) as store:
            store.put(RECORD)
        with closing(SqliteStore(path)) as store:
            assert store.get(KEY) == RECORD

    @pytest.mark.parametrize("wrong", [None, 3, "a\0b", b"path"], ids=repr)
    def test_a_path_that_is_none(self, wrong):
        with pytest.raises(InvalidOptionError, match="expected the path of a file, got"):
            SqliteStore(wrong)

    def test_a_folder(self, tmp_path):
        with pytest.raises(CacheError, match=r"expected a file .* got the folder .*; name a file"):
            SqliteStore(tmp_path).get(KEY)

    def test_a_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("here")
        with pytest.raises(CacheError, match="cannot make the folder of the answer cache"):
            SqliteStore(tmp_path / "file" / "cache.sqlite").get(KEY)
        assert (tmp_path / "file").read_text() == "here"

    def test_an_empty_one_becomes_a_cache(self, path):
        path.touch()
        with closing(SqliteStore(path)) as store:
            store.put(RECORD)
            assert store.get(KEY) == RECORD

    def test_gets_smaller_when_answers_go(self, store):
        for number in range(300):
            store.put(a_record(f"prompt {number}", "long " * 200))
        store.close()
        before = store.stats()["bytes"]
        assert before > 300_000
        assert store.prune(max_entries=10) == 290
        store.close()
        assert store.stats()["bytes"] < before / 5

    def test_the_bytes_are_those_on_the_disk(self, store, path):
        store.put(RECORD)
        log = Path(f"{path}-wal")
        assert store.stats()["bytes"] == path.stat().st_size + log.stat().st_size


class TestAFileThatGoesAway:
    @pytest.mark.parametrize("side_files", [True, False])
    def test_deleted(self, store, path, side_files):
        store.put(RECORD)
        path.unlink()
        if side_files:
            Path(f"{path}-wal").unlink()
            Path(f"{path}-shm").unlink()
        new = a_record("new")
        assert store.put(new) == new
        store.close()
        with closing(SqliteStore(path)) as other:
            assert list(other.records()) == [new]

    def test_replaced_by_another_cache(self, store, path, tmp_path):
        store.put(RECORD)
        other = filled(tmp_path / "other.sqlite", number=5)
        os.replace(other, path)
        Path(f"{path}-wal").unlink()
        Path(f"{path}-shm").unlink()
        assert store.stats()["answers"] == 6
        store.put(a_record("new"))
        store.close()
        assert ask(path, "SELECT count(*) FROM answers") == [(7,)]
        assert ask(path, "PRAGMA integrity_check") == [("ok",)]


class TestWhoseFile:
    @pytest.mark.parametrize("mode", ["delete", "wal"])
    @pytest.mark.parametrize("read_only", [True, False])
    def test_another_programs_is_left_untouched(self, path, mode, read_only):
        ask(path, f"PRAGMA journal_mode = {mode}")
        ask(path, "CREATE TABLE notes (text)")
        before = path.read_bytes()
        store = SqliteStore(path, read_only=read_only)
        for _ in range(2):
            with pytest.raises(CacheError, match="a database of another program; it was left"):
                store.get(KEY)
        assert path.read_bytes() == before
        assert set_aside(path) == []

    @pytest.mark.parametrize("pragma", ["application_id = 77", "user_version = 3"])
    def test_an_empty_database_with_an_owner_is_another_programs(self, path, pragma):
        ask(path, f"PRAGMA {pragma}")
        with pytest.raises(CacheError, match="a database of another program"):
            SqliteStore(path).put(RECORD)
        assert ask(path, "SELECT count(*) FROM sqlite_master") == [(0,)]

    @pytest.mark.parametrize("read_only", [True, False])
    def test_a_newer_version_is_refused_and_left_untouched(self, path, read_only):
        filled(path)
        ask(path, "PRAGMA user_version = 2")
        before = path.read_bytes()
        with pytest.raises(CacheVersionError, match=r"version 1, got version 2") as error:
            SqliteStore(path, read_only=read_only).get(KEY)
        assert "pip install --upgrade llm-wrappers" in str(error.value)
        assert path.read_bytes() == before

    def test_json_lines_are_refused_and_left_untouched(self, path):
        path.write_text('{"format": 1}\n')
        with pytest.raises(CacheError, match=r"JSON lines; it was left untouched.*cache import"):
            SqliteStore(path).get(KEY)
        assert path.read_text() == '{"format": 1}\n'


def no_database(path):
    path.write_text("These are notes, and no database. " * 50)


def short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def header_gone(path):
    with path.open("r+b") as file:
        file.write(b"\0" * 100)


def pages_gone(path):
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096 * 8))


def schema_gone(path):
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 1000)


damages = pytest.mark.parametrize(
    "damage", [no_database, short, header_gone, pages_gone, schema_gone],
    ids=lambda damage: damage.__name__,
)  # fmt: skip


class TestADamagedFile:
    @damages
    def test_is_set_aside_and_reported(self, path, damage):
        damage(filled(path))
        damaged = path.read_bytes()
        store = SqliteStore(path)
        with pytest.raises(CacheCorruptError) as caught:
            list(store.records())
        (aside,) = set_aside(path)
        assert aside.read_bytes() == damaged
        assert f"{path} is damaged" in str(caught.value)
        assert f"set aside as {aside};" in str(caught.value)
        assert f"`llm-wrappers cache import {path} EXPORT.jsonl`" in str(caught.value)
        assert not path.exists()
        store.put(RECORD)
        assert list(store.records()) == [RECORD]
        assert set_aside(path) == [aside]
        store.close()

    @damages
    def test_stays_where_it_is_when_it_is_only_read(self, path, damage):
        damage(filled(path))
        damaged = path.read_bytes()
        with pytest.raises(CacheCorruptError, match="was left where it is"):
            list(SqliteStore(path, read_only=True).records())
        assert path.read_bytes() == damaged
        assert set_aside(path) == []

    def test_is_noticed_while_it_is_open(self, store, path):
        filled(path)
        store.put(a_record("new"))
        ask(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        pages_gone(path)
        with closing(SqliteStore(path)) as other, pytest.raises(CacheCorruptError):
            list(other.records())
        (aside,) = set_aside(path)
        # The store that was open goes on in the new file, and not in the one that was renamed.
        store.put(RECORD)
        store.close()
        with closing(SqliteStore(path)) as other:
            assert list(other.records()) == [RECORD]
        assert set_aside(path) == [aside]

    def test_its_log_goes_with_it(self, store, path):
        filled(path)
        store.put(a_record("in the log"))
        log = Path(f"{path}-wal").read_bytes()
        pages_gone(path)
        with closing(SqliteStore(path)) as other, pytest.raises(CacheCorruptError):
            list(other.records())
        (aside,) = set_aside(path)
        assert {name.name for name in path.parent.iterdir()} == {
            f"{aside.name}{suffix}" for suffix in ("", "-wal", "-shm")
        }
        assert Path(f"{aside}-wal").read_bytes() == log

    def test_a_process_that_comes_late_leaves_the_new_one_alone(self, path):
        no_database(filled(path))
        late, early = SqliteFile(path, _ANSWERS), SqliteStore(path)
        late._opened = _file_id(path)
        with pytest.raises(CacheCorruptError):
            early.get(KEY)
        early.put(RECORD)
        said = late._handle_damage(sqlite3.DatabaseError("file is not a database"), path)
        (aside,) = set_aside(path)
        assert isinstance(said, CacheCorruptError)
        assert f"set aside as {aside};" in str(said)
        assert early.get(KEY) == RECORD
        early.close()

    def test_none_is_overwritten_by_the_next(self, path, monkeypatch):
        monkeypatch.setattr(time, "strftime", lambda form: "20260101-120000")
        contents = []
        for number in range(3):
            path.write_text(f"damage {number}")
            with pytest.raises(CacheCorruptError, match=r"corrupt-20260101-120000[-0-9]*;"):
                SqliteStore(path).get(KEY)
            contents = [aside.read_text() for aside in set_aside(path)]
            assert sorted(contents) == [f"damage {n}" for n in range(number + 1)]

    def test_in_a_folder_where_nothing_can_be_renamed(self, public_folder):
        path = public_folder / "cache.sqlite"
        no_database(path)
        path.chmod(0o666)
        # Nobody may write the file, so that it is only read.
        with pytest.raises(CacheCorruptError, match="was left where it is"):
            in_a_child(lambda: SqliteStore(path).get(KEY), user=NOBODY)
        assert path.exists()

    @pytest.mark.skipif(os.getuid() != 0, reason="only the superuser can give a folder away")
    def test_where_it_belongs_to_somebody_else(self, public_folder):
        path = public_folder / "cache.sqlite"
        no_database(path)
        path.chmod(0o666)
        # As in /tmp: everybody may add files, and only the owner of one may rename it.
        public_folder.chmod(0o1777)
        os.chown(public_folder, NOBODY + 1, -1)
        with pytest.raises(CacheCorruptError, match=r"cannot be renamed \(.*move it away yourself"):
            in_a_child(lambda: SqliteStore(path).get(KEY), user=NOBODY)
        assert path.exists()

    def test_a_table_that_is_missing_is_an_error_that_says_so(self, path):
        filled(path)
        ask(path, "DROP TABLE failures")
        with pytest.raises(CacheError, match="no such table: failures"):
            SqliteStore(path).failure(KEY)
        assert path.exists()


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """Return the bytes of a cache, and its records by their keys."""
    path = tmp_path_factory.mktemp("intact") / "cache.sqlite"
    records = [a_record(f"prompt {number}", "answer " * 20) for number in range(20)]
    with closing(SqliteStore(path)) as store:
        for record in records:
            store.put(record)
    return path.read_bytes(), {record.key: record for record in records}


class TestADamagedAnswer:
    """One that is broken inside of a file that is well."""

    @pytest.fixture(
        params=[
            lambda line: line.replace("West", "East"),
            lambda line: line.replace("Where is water", "Where is sand!"),
            lambda line: line.replace("1000.0", "1000.5"),
            lambda line: line.replace("1000.0", "NaN"),
            lambda line: line.replace("1000.0", "1e999"),
            lambda line: line[: len(line) // 2],
            lambda line: "",
            lambda line: "[" * 100_000,
            lambda line: '{"format": 1}',
            lambda line: "null",
            lambda line: line.encode().replace(b"West", b"We\xfft"),
            lambda line: None if line is None else 3,
        ],
        ids=[
            "answer", "request", "created", "nan", "infinity", "short", "nothing", "nested",
            "fields", "null", "not-unicode", "number",
        ],
    )  # fmt: skip
    def damaged(self, request, store, path):
        store.put(RECORD)
        store.put(a_record("another"))
        ((line,),) = ask(path, "SELECT line FROM answers WHERE key = ?", KEY)
        value = request.param(line)
        sql = "UPDATE answers SET line = CAST(? AS TEXT) WHERE key = ?"
        ask(path, sql if isinstance(value, bytes) else sql.replace("CAST(? AS TEXT)", "?"),
            value, KEY)  # fmt: skip
        return store

    def test_is_reported_and_never_returned(self, damaged, path):
        for _ in range(2):
            with pytest.raises(CacheCorruptError) as caught:
                damaged.get(KEY)
            assert f"the answer with the key {KEY} in {path} is damaged" in str(caught.value)
            assert f"cache prune {path} --damaged" in str(caught.value)
            with pytest.raises(CacheCorruptError):
                list(damaged.records())
        assert damaged.get(a_record("another").key) is not None
        assert damaged.stats()["answers"] == 2
        assert set_aside(path) == []

    @pytest.mark.parametrize("replace", [True, False])
    def test_gives_way_to_one_that_is_well(self, damaged, replace):
        assert damaged.put(RECORD, replace=replace) == RECORD
        assert damaged.get(KEY) == RECORD
        assert damaged.stats()["answers"] == 2

    def test_can_be_deleted(self, damaged):
        assert KEY in list(damaged.keys())
        assert damaged.discard(KEY)
        assert damaged.get(KEY) is None

    def test_the_answer_to_another_question_is_damage(self, store, path):
        store.put(RECORD)
        store.put(a_record("another"))
        ask(path, "UPDATE answers SET line = (SELECT line FROM answers WHERE key != ?) "
            "WHERE key = ?", KEY, KEY)  # fmt: skip
        other = a_record("another").key
        with pytest.raises(CacheCorruptError, match=f"belongs to the key {other}"):
            store.get(KEY)

    def test_one_of_a_newer_format_is_no_damage(self, store, path):
        store.put(RECORD)
        ask(path, """UPDATE answers SET line = replace(line, '"format":1', '"format":2')""")
        with pytest.raises(CacheVersionError, match="format 2, which a newer version"):
            store.get(KEY)
        with pytest.raises(CacheVersionError):
            store.put(RECORD)

    @given(data=st.data())
    @settings(
        max_examples=50,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    def test_whatever_bit_of_the_file_flips(self, data, intact, tmp_path):
        content, put = bytearray(intact[0]), intact[1]
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
        for name in tmp_path.iterdir():
            name.unlink()
        path = tmp_path / "flipped.sqlite"
        path.write_bytes(content)
        with closing(SqliteStore(path)) as store:
            for key, record in put.items():
                with suppress(CacheError):
                    assert store.get(key) in (record, None)
            with suppress(CacheError):
                assert all(record in put.values() for record in store.records())
            with suppress(CacheError):
                store.stats()
            with suppress(CacheError):
                assert store.put(a_record("new")) == a_record("new")

    def test_a_note_of_a_failure_that_is_broken_warns_of_nothing(self, store, path):
        store.put_failure(KEY, a_failure())
        ask(path, "UPDATE failures SET body = 'broken'")
        assert store.failure(KEY) is None

    @pytest.mark.parametrize("body", ["broken", "[]", "3"])
    def test_a_document_that_is_broken_is_reported(self, store, path, body):
        store.transact("spending", lambda state: state.update(dollars=1))
        ask(path, "UPDATE documents SET body = ?", body)
        with pytest.raises(CacheCorruptError, match=r"document 'spending' in .* is damaged"):
            store.transact("spending", lambda state: state.update(dollars=2))
        assert ask(path, "SELECT body FROM documents") == [(body,)]


class TestNoReasonToSetAside:
    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch):
        monkeypatch.setattr(_sqlite_opening, "BUSY_SECONDS", 0.2)

    @contextmanager
    def locked(self, path):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def test_a_lock_that_another_process_holds(self, store, path):
        store.put(RECORD)
        with self.locked(path):
            assert store.get(KEY) == RECORD
            with pytest.raises(CacheError, match=r"is locked; another process kept it locked"):
                store.put(a_record("new"))
        assert store.put(a_record("new")) == a_record("new")
        assert set_aside(path) == []

    def test_a_lock_on_a_new_file(self, store, path):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            with pytest.raises(CacheError, match="locked"):
                store.get(KEY)
        assert store.get(KEY) is None

    def test_a_disk_that_is_full(self, path):
        filled(path)

        def write_without_end():
            # The system then refuses, and does not kill, what goes over the limit.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            limit = path.stat().st_size + 50_000
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            with closing(SqliteStore(path)) as store:
                for number in range(1000):
                    store.put(a_record(f"more {number}", "long " * 100))

        with pytest.raises(CacheError, match=r"disk (I/O error|is full)") as caught:
            in_a_child(write_without_end)
        assert type(caught.value) is CacheError
        assert set_aside(path) == []
        with closing(SqliteStore(path)) as store:
            assert store.get(KEY) == RECORD
            assert len(list(store.records())) > 200

    def test_damage_that_a_second_look_does_not_find(self, store, path, monkeypatch):
        store.put(RECORD)
        wrong = sqlite3.DatabaseError("database disk image is malformed")

        class Failing:
            def __init__(self, in_transaction):
                self.in_transaction = in_transaction

            def execute(self, sql, values):
                raise wrong

            def close(self):
                pass

        store._file._connection.close()
        store._file._connection = Failing(in_transaction=False)
        assert store.get(KEY) == RECORD
        store._file._connection.close()
        # What the transaction has done so far is lost: this only its owner can do again.
        store._file._connection = Failing(in_transaction=True)
        with pytest.raises(CacheError, match="is well at a second look; try again") as caught:
            store.get(KEY)
        assert not isinstance(caught.value, CacheCorruptError)
        assert store.get(KEY) == RECORD
        assert set_aside(path) == []


class TestWithoutTheRightToWrite:
    """In a child without rights, because nothing is forbidden to the superuser."""

    @pytest.fixture
    def frozen(self, public_folder):
        """Return a complete cache in a folder that cannot be written."""
        path = filled(public_folder / "cache.sqlite", number=3)
        path.chmod(0o444)
        public_folder.chmod(0o555)
        yield path
        public_folder.chmod(0o755)

    @pytest.mark.parametrize("read_only", [True, False])
    def test_is_read(self, frozen, read_only):
        def read():
            with closing(SqliteStore(frozen, read_only=read_only)) as store:
                return store.get(KEY), len(list(store.records())), store.stats()["answers"]

        assert in_a_child(read, user=NOBODY) == (RECORD, 4, 4)
        assert os.listdir(frozen.parent) == [frozen.name]

    @pytest.mark.parametrize("read_only", [True, False])
    def test_refuses_to_write(self, frozen, read_only):
        store = SqliteStore(frozen, read_only=read_only)
        for change in (
            lambda: store.put(a_record("new")),
            lambda: store.claim("a", owner="me", seconds=1),
            lambda: store.transact("a", dict),
        ):
            with pytest.raises(CacheReadOnlyError, match=r"read-only .*; allow writing"):
                in_a_child(change, user=NOBODY)

    @pytest.mark.parametrize("writable", ["file", "folder"])
    def test_needs_both_file_and_folder(self, frozen, writable):
        if writable == "file":
            frozen.chmod(0o666)
        else:
            frozen.parent.chmod(0o777)

        def write():
            SqliteStore(frozen).put(a_record("new"))

        with pytest.raises(CacheReadOnlyError):
            in_a_child(write, user=NOBODY)
        assert in_a_child(lambda: SqliteStore(frozen).get(KEY), user=NOBODY) == RECORD

    def test_reads_while_somebody_else_writes(self, public_folder):
        path = filled(public_folder / "cache.sqlite", number=3)
        with closing(SqliteStore(path)) as writer:
            writer.put(a_record("in the log only"))
            public_folder.chmod(0o555)
            for name in public_folder.iterdir():
                name.chmod(0o644)

            def read():
                return SqliteStore(path, read_only=True).get(a_record("in the log only").key)

            assert in_a_child(read, user=NOBODY) == a_record("in the log only")
        public_folder.chmod(0o755)

    def test_a_log_that_cannot_be_read_in_is_said(self, public_folder):
        path = public_folder / "cache.sqlite"

        def stop_in_between():
            store = SqliteStore(path)
            store.put(RECORD)
            os.kill(os.getpid(), signal.SIGKILL)

        with pytest.raises(EOFError):
            in_a_child(stop_in_between)
        Path(f"{path}-shm").unlink()
        public_folder.chmod(0o555)
        with pytest.raises(CacheError, match="-wal holds answers that are not in the file yet"):
            in_a_child(lambda: SqliteStore(path, read_only=True).get(KEY), user=NOBODY)
        public_folder.chmod(0o755)
        with closing(SqliteStore(path)) as store:
            assert store.get(KEY) == RECORD

    def test_a_new_file_in_such_a_folder(self, frozen):
        path = frozen.parent / "new.sqlite"
        with pytest.raises(CacheReadOnlyError, match="cannot create the answer cache"):
            in_a_child(lambda: SqliteStore(path).get(KEY), user=NOBODY)
        path = frozen.parent / "new" / "cache.sqlite"
        with pytest.raises(CacheReadOnlyError, match="cannot make the folder"):
            in_a_child(lambda: SqliteStore(path).get(KEY), user=NOBODY)

    def test_a_folder_that_cannot_be_entered(self, frozen):
        frozen.parent.chmod(0)
        for read_only in (True, False):
            store = SqliteStore(frozen, read_only=read_only)
            with pytest.raises(CacheError):
                in_a_child(lambda store=store: store.get(KEY), user=NOBODY)


class TestReadOnly:
    def test_needs_a_file_and_makes_none(self, tmp_path):
        path = tmp_path / "deep" / "cache.sqlite"
        with pytest.raises(CacheError, match=rf"got {path}, which does not exist"):
            SqliteStore(path, read_only=True).get(KEY)
        assert list(tmp_path.iterdir()) == []

    def test_refuses_to_write_what_does_not_exist(self, path):
        with pytest.raises(CacheReadOnlyError):
            SqliteStore(path, read_only=True).put(RECORD)
        assert not path.exists()

    def test_an_empty_file_holds_nothing(self, path):
        path.touch()
        with pytest.raises(CacheError, match="is empty; nothing was ever put into it"):
            SqliteStore(path, read_only=True).get(KEY)
        assert path.stat().st_size == 0

    def test_changes_not_one_byte(self, path):
        filled(path)
        before = path.read_bytes()
        with closing(SqliteStore(path, read_only=True)) as store:
            list(store.records())
            store.stats()
        assert path.read_bytes() == before
        assert stat.S_ISREG(path.stat().st_mode)

    def test_in_memory_is_always_empty(self):
        store = SqliteStore(":memory:", read_only=True)
        assert store.get(KEY) is None
        with pytest.raises(CacheReadOnlyError, match="got :memory:"):
            store.put(RECORD)


class TestWithoutSharedMemory:
    """On a file system that cannot map the index of the log, such as some network ones."""

    @pytest.fixture(autouse=True)
    def _no_index(self, path):
        # SQLite follows no link to it, so that it can neither open nor create one.
        Path(f"{path}-shm").symlink_to("nowhere")

    def test_does_without_a_log(self, store, path):
        store.put(RECORD)
        assert ask(path, "PRAGMA journal_mode") == [("delete",)]
        assert store._file.rows("PRAGMA synchronous") == [(2,)]
        assert not Path(f"{path}-wal").exists()

    def test_is_still_shared(self, store, path):
        store.put(RECORD)
        with closing(SqliteStore(path)) as other:
            assert other.get(KEY) == RECORD
            other.put(a_record("new"))
            assert other.claim("a", owner="me", seconds=60)
        assert store.get(a_record("new").key) is not None
        assert not store.claim("a", owner="you", seconds=60)


class TestTransact:
    def test_refuses_to_change_the_cache_from_inside(self, store):
        def nested(state):
            state["n"] = 1
            store.put(RECORD)

        with pytest.raises(CacheError, match="changed from inside of `transact`"):
            store.transact("a", nested)
        assert store.transact("a", dict) == {}
        assert store.get(KEY) is None

    def test_may_read_from_inside(self, store):
        store.put(RECORD)
        assert store.transact("a", lambda state: store.get(KEY)) == RECORD

    def test_an_interrupt_rolls_back(self, store):
        def interrupt(state):
            state["n"] = 1
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.transact("a", interrupt)
        assert store.transact("a", dict) == {}


class TestMemory:
    def test_is_private_and_makes_no_file(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        one, other = SqliteStore(":memory:"), SqliteStore(":memory:")
        one.put(RECORD)
        assert other.get(KEY) is None
        assert one.location == ":memory:"
        assert list(tmp_path.iterdir()) == []

    def test_a_pickle_of_it_is_empty(self):
        store = SqliteStore(":memory:", max_entries=5)
        store.put(RECORD)
        other = pickle.loads(pickle.dumps(store))
        assert other.get(KEY) is None
        assert other.max_entries == 5

    def test_a_forked_child_has_its_own_copy(self):
        store = SqliteStore(":memory:")
        store.put(RECORD)

        def change():
            store.put(a_record("new"))
            return len(list(store.records()))

        assert in_a_child(change) == 2
        assert list(store.records()) == [RECORD]


class TestForks:
    def test_nothing_is_lost_when_the_parent_closes_first(self, store, path):
        store.put(a_record("before"))
        written, closed = os.pipe(), os.pipe()

        def write():
            store.put(a_record("child 0"))
            os.write(written[1], b"x")
            os.read(closed[0], 1)
            for number in range(1, 50):
                store.put(a_record(f"child {number}"))

        def close():
            os.read(written[0], 1)
            store.get(KEY)
            store.close()
            os.write(closed[1], b"x")

        thread = threading.Thread(target=close)
        thread.start()
        in_a_child(write)
        thread.join()
        with closing(SqliteStore(path)) as other:
            assert other.stats()["answers"] == 51
        assert ask(path, "PRAGMA integrity_check") == [("ok",)]

    def test_in_the_middle_of_what_other_threads_write(self, store, path):
        stop = threading.Event()

        def write(worker):
            number = 0
            while not stop.is_set():
                store.put(a_record(f"thread {worker} {number}"))
                number += 1
            return number

        written = []
        threads = [
            threading.Thread(target=lambda worker=worker: written.append(write(worker)))
            for worker in range(3)
        ]
        for thread in threads:
            thread.start()
        for child in range(5):
            in_a_child(lambda child=child: store.put(a_record(f"child {child}")))
        stop.set()
        for thread in threads:
            thread.join()
        assert store.stats()["answers"] == sum(written) + 5
        assert ask(path, "PRAGMA integrity_check") == [("ok",)]

    def test_inside_of_a_transaction_leaves_the_child_out_of_it(self, store):
        def fork(state):
            state["n"] = in_a_child(lambda: store.get(KEY) is not None)

        store.put(RECORD)
        store.transact("a", fork)
        assert store.transact("a", dict) == {"n": True}

    def test_inside_of_a_transaction_in_memory(self):
        store = SqliteStore(":memory:")

        def write_and_fork(state):
            store._file.run("DELETE FROM answers")
            state["n"] = in_a_child(lambda: store.put(a_record("new")) and store.stats()["answers"])

        store.put(RECORD)
        store.transact("a", write_and_fork)
        assert store.transact("a", dict) == {"n": 2}

    def test_a_store_that_is_gone_is_not_asked(self, path):
        SqliteStore(path).get(KEY)
        in_a_child(lambda: None)


def test_errors_are_told_apart_by_their_text_where_there_is_no_code():
    from llm_wrappers.storage.sqlite_file import _code_of as code_of
    from llm_wrappers.storage.sqlite_file import _is_damage as is_damage

    assert is_damage(sqlite3.DatabaseError("file is not a database"))
    assert is_damage(sqlite3.DatabaseError("malformed database schema (x)"))
    for harmless in (
        "database is locked", "attempt to write a readonly database", "disk I/O error",
        "database or disk is full", "unable to open database file", "locking protocol", "other",
    ):  # fmt: skip
        assert not is_damage(sqlite3.OperationalError(harmless))
    assert code_of(sqlite3.OperationalError("other")) == 1
