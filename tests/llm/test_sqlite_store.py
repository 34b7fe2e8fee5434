"""The answer cache in an SQLite file: what may happen to a file."""

import os
import pickle
import resource
import signal
import sqlite3
import tempfile
import threading
import warnings
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from store_samples import a_record

from llm_wrappers.errors import (
    CacheCorruptError,
    CacheError,
    CacheReadOnlyError,
    CacheVersionError,
    InvalidOptionError,
)
from llm_wrappers.llm.cache.sqlite_store import _ANSWERS, SqliteStore
from llm_wrappers.storage import _sqlite_opening
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

    @pytest.mark.parametrize("wrong", [None, 3, "a\0b", b"path"], ids=repr)
    def test_a_path_that_is_none(self, wrong):
        with pytest.raises(InvalidOptionError, match="expected the path of a file, got"):
            SqliteStore(wrong)

    def test_a_folder(self, tmp_path):
        with pytest.raises(CacheError, match=r"expected a file .* got the folder .*; name a file"):
            SqliteStore(tmp_path).get(KEY)


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

    @pytest.mark.parametrize("read_only", [True, False])
    def test_a_newer_version_is_refused_and_left_untouched(self, path, read_only):
        filled(path)
        ask(path, "PRAGMA user_version = 2")
        before = path.read_bytes()
        with pytest.raises(CacheVersionError, match=r"version 1, got version 2") as error:
            SqliteStore(path, read_only=read_only).get(KEY)
        assert "pip install --upgrade llm-wrappers" in str(error.value)
        assert path.read_bytes() == before


def test_json_lines_are_refused_and_left_untouched(path):
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


class TestReadOnly:
    def test_needs_a_file_and_makes_none(self, tmp_path):
        path = tmp_path / "deep" / "cache.sqlite"
        with pytest.raises(CacheError, match=rf"got {path}, which does not exist"):
            SqliteStore(path, read_only=True).get(KEY)
        assert list(tmp_path.iterdir()) == []

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
