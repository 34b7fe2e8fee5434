"""No text is encoded twice: in memory, in a file, over threads, forks and processes."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_wrappers.embeddings import CachedEncoder, HashingEncoder, resolve_encoder
from llm_wrappers.errors import GuidanceError, GuidanceWarning, InvalidOptionError

GOALS = ["collect wood", "eat cow", "place table"]


class Recording:
    """Hashed vectors, and what was asked for."""

    def __init__(self, name: str = "recording", dimensions: int = 8) -> None:
        self.name = name
        self.asked: list[list[str]] = []
        self._inner = HashingEncoder(dimensions)

    def encode(self, texts: Any) -> Any:
        self.asked.append(list(texts))
        return self._inner.encode(texts)


class Returning:
    """An encoder that returns this, whatever it is asked."""

    name = "returning"

    def __init__(self, vectors: Any) -> None:
        self.vectors = vectors

    def encode(self, texts: Any) -> Any:
        return self.vectors


def expected(texts: Any, dimensions: int = 8) -> Any:
    return HashingEncoder(dimensions).encode(texts)


def rows_of(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        count = connection.execute("SELECT COUNT(*) FROM vectors").fetchone()[0]
    connection.close()
    return int(count)


def change(path: Path, statement: str, *values: Any) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, values)
    connection.close()


# --- in memory ---


def test_a_text_is_encoded_once() -> None:
    inner = Recording()
    encoder = CachedEncoder(inner)
    for texts in (["a", "b", "a"], ["b", "c"], ["a"]):
        np.testing.assert_array_equal(encoder.encode(texts), expected(texts))
    assert inner.asked == [["a", "b"], ["c"]]
    counts = encoder.stats()
    assert (counts["texts"], counts["memory_hits"], counts["encoded"]) == (6, 3, 3)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(st.lists(st.lists(st.text(st.characters(exclude_categories=()))), max_size=5))
def test_its_vectors_are_those_of_the_encoder_whatever_the_texts(batches: Any) -> None:
    inner = Recording()
    encoder = CachedEncoder(inner, limit=3)
    for texts in batches:
        vectors = encoder.encode(texts)
        assert vectors.shape == (len(texts), 8)
        np.testing.assert_array_equal(vectors, expected(texts))
    counts = encoder.stats()
    assert counts["texts"] >= sum(map(len, batches))
    assert counts["texts"] == counts["memory_hits"] + counts["encoded"]


def test_the_first_vector_of_a_text_stays() -> None:
    class Rounding:
        """As of a model, the last digits depend on the batch."""

        def encode(self, texts: Any) -> Any:
            return HashingEncoder(8).encode(texts) * np.float32(1 + 1e-6 * len(texts))

    encoder = CachedEncoder(Rounding())
    first = encoder.encode(["a"])
    np.testing.assert_array_equal(encoder.encode(["b", "c", "a"])[2:], first)


def test_limit_keeps_the_texts_that_were_used_last() -> None:
    inner = Recording()
    encoder = CachedEncoder(inner, limit=2)
    for text in ("a", "b", "a", "c"):
        encoder.encode([text])
    encoder.encode(["a"])
    encoder.encode(["b"])
    assert inner.asked == [["a"], ["b"], ["c"], ["b"]]
    np.testing.assert_array_equal(encoder.encode(list("wxyz")), expected(list("wxyz")))


def test_threads_encode_a_text_once() -> None:
    class Slow(Recording):
        def encode(self, texts: Any) -> Any:
            time.sleep(0.02)
            return super().encode(texts)

    inner = Slow()
    encoder = CachedEncoder(inner)
    threads = [threading.Thread(target=encoder.encode, args=(GOALS,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inner.asked == [GOALS]


def test_a_copy_is_the_same_and_a_pickle_starts_without_vectors(tmp_path: Path) -> None:
    encoder = CachedEncoder(Recording(), store=tmp_path / "v.sqlite", limit=7)
    encoder.encode(GOALS)
    assert deepcopy(encoder) is encoder
    other = pickle.loads(pickle.dumps(encoder))
    assert repr(other).split("store=")[1] == repr(encoder).split("store=")[1]
    assert other.stats()["texts"] == 0
    other.encode(GOALS)
    assert other.stats()["store_hits"] == 3


class Nameless:
    def encode(self, texts: Any) -> Any:
        return expected(texts)


# --- in a file ---


def test_a_store_is_read_by_the_next_run(tmp_path: Path) -> None:
    store = tmp_path / "new folder" / "v.sqlite"
    first = CachedEncoder(Recording(), store=store).encode(GOALS)
    inner = Recording()
    encoder = CachedEncoder(inner, store=store)
    np.testing.assert_array_equal(encoder.encode([*GOALS, "new"])[:3], first)
    assert inner.asked == [["new"]]
    counts = encoder.stats()
    assert (counts["store_hits"], counts["encoded"], counts["memory_hits"]) == (3, 1, 0)
    del encoder
    assert os.listdir(store.parent) == ["v.sqlite"]


def test_encoders_share_a_store_without_mixing(tmp_path: Path) -> None:
    for name, dimensions in (("one", 8), ("two", 16), ("one", 8)):
        encoder = CachedEncoder(Recording(name, dimensions), store=tmp_path / "v")
        np.testing.assert_array_equal(encoder.encode(GOALS), expected(GOALS, dimensions))
    assert rows_of(tmp_path / "v") == 6


@pytest.mark.parametrize("texts", [GOALS, ["never seen"], [GOALS[0], "never seen"]])
def test_a_name_with_another_dimension_is_refused(tmp_path: Path, texts: list[str]) -> None:
    CachedEncoder(Recording("model", 8), store=tmp_path / "v").encode(GOALS)
    encoder = CachedEncoder(Recording("model", 16), store=tmp_path / "v")
    with pytest.raises(InvalidOptionError, match=r"of length 8 from 'model'.* got length 16"):
        encoder.encode([*texts, "and a new one"])
    assert rows_of(tmp_path / "v") == 3


def test_a_store_needs_an_encoder_with_a_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="a store needs an encoder with a name, got Name"):
        CachedEncoder(Nameless(), store=tmp_path / "v")


# --- a file that fails ---


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE vectors SET vector = zeroblob(32)", "UPDATE vectors SET vector = zeroblob(7)",
        "UPDATE vectors SET checksum = checksum + 1", "UPDATE encoders SET dimensions = 4",
    ],
)  # fmt: skip
def test_damaged_vectors_are_encoded_again(tmp_path: Path, damage: str) -> None:
    CachedEncoder(Recording(), store=tmp_path / "v").encode(GOALS)
    change(tmp_path / "v", damage)
    change(tmp_path / "v", "UPDATE encoders SET dimensions = 8") if "zero" in damage else None
    encoder = CachedEncoder(Recording(), store=tmp_path / "v")
    if "dimensions" in damage:
        with pytest.warns(GuidanceWarning), pytest.raises(InvalidOptionError, match="length 4"):
            encoder.encode(GOALS)
        return
    with pytest.warns(GuidanceWarning, match="damaged vectors, which are encoded again") as said:
        np.testing.assert_array_equal(encoder.encode(GOALS), expected(GOALS))
    assert len(said) == 1
    assert encoder.stats()["damaged_rows"] >= 3
    repaired = CachedEncoder(Recording(), store=tmp_path / "v")
    repaired.encode(GOALS)
    assert repaired.stats()["store_hits"] == 3


def test_a_damaged_file_is_set_aside_and_begun_anew(tmp_path: Path) -> None:
    store = tmp_path / "v.sqlite"
    texts = [f"text {number}" for number in range(400)]
    CachedEncoder(Recording(), store=store).encode(texts)
    with store.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(store.stat().st_size - 100))
    encoder = CachedEncoder(Recording(), store=store)
    with pytest.warns(GuidanceWarning, match=r"(?s)set aside as .*v\.sqlite\.corrupt-.*said once"):
        np.testing.assert_array_equal(encoder.encode(texts), expected(texts))
    assert encoder.stats()["store_failures"] >= 1
    assert any(".corrupt-" in name for name in os.listdir(tmp_path))
    CachedEncoder(Recording(), store=store).encode(texts)
    again = CachedEncoder(Recording(), store=store)
    again.encode(texts)
    assert again.stats()["store_hits"] == 400


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    store = tmp_path / "planner.py"
    store.write_text("print('precious')\n" * 100)
    encoder = CachedEncoder(Recording(), store=store)
    with pytest.warns(
        GuidanceWarning, match="is no database; it was left untouched.*stay in memory"
    ):
        np.testing.assert_array_equal(encoder.encode(GOALS), expected(GOALS))
    for texts in (["new"], GOALS):
        np.testing.assert_array_equal(encoder.encode(texts), expected(texts))
    assert encoder.stats()["store_failures"] > 1
    assert store.read_text().startswith("print('precious')")
    assert os.listdir(tmp_path) == ["planner.py"]


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    change(tmp_path / "other.db", "CREATE TABLE answers (text)")
    encoder = CachedEncoder(Recording(), store=tmp_path / "other.db")
    with pytest.raises(InvalidOptionError, match="which is another database; choose another file"):
        encoder.encode(GOALS)


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    CachedEncoder(Recording(), store=tmp_path / "v").encode(GOALS)
    change(tmp_path / "v", "PRAGMA user_version = 2")
    with pytest.raises(
        InvalidOptionError, match=r"got version 2 in .*pip install --upgrade llm-wrappers"
    ):
        CachedEncoder(Recording(), store=tmp_path / "v").encode(GOALS)


READ_ONLY = """
import os, sys, warnings
from llm_wrappers.embeddings import CachedEncoder, HashingEncoder
os.chdir("/")
if os.getuid() == 0:
    os.setuid(65534)
encoder = CachedEncoder(HashingEncoder(8), store=sys.argv[1])
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    encoder.encode(["a"])
    assert encoder.stats()["store_hits"] == 1 and not said, said
    encoder.encode(["b"])
    encoder.encode(["c"])
assert len(said) == 1 and "read-only" in str(said[0].message), said
print("kept", encoder.stats()["store_failures"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs users and modes of POSIX")
def test_a_read_only_store_is_read(tmp_path: Path) -> None:
    # Somewhere that the other user may enter.
    store = tmp_path / "v.sqlite"
    CachedEncoder(HashingEncoder(8), store=store).encode(["a"])
    store.chmod(0o444)
    store.parent.chmod(0o555)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == os.getuid() and str(folder).count("pytest"):
            folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(store)], capture_output=True, text=True
    )
    store.parent.chmod(0o755)
    assert done.stdout.strip() == "kept 2", done.stderr


# --- processes ---


WRITER = """
import sys
from llm_wrappers.embeddings import CachedEncoder, HashingEncoder
encoder, first = CachedEncoder(HashingEncoder(8), store=sys.argv[1]), int(sys.argv[2])
for start in range(first, first + 200, 5):
    encoder.encode([f"text {number}" for number in range(start, start + 5)])
"""


def test_writers_in_other_processes_and_one_that_is_killed(tmp_path: Path) -> None:
    store = tmp_path / "v.sqlite"
    # Half of the texts of each writer are those of the next one as well.
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(store), str(100 * index)])
        for index in range(4)
    ]
    deadline = time.monotonic() + 60
    while not store.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    writers[3].kill()
    assert [writer.wait(60) for writer in writers[:3]] == [0, 0, 0]
    writers[3].wait(60)
    texts = [f"text {number}" for number in range(400)]
    encoder = CachedEncoder(HashingEncoder(8), store=store)
    np.testing.assert_array_equal(encoder.encode(texts), expected(texts))
    assert encoder.stats()["store_hits"] == 400
    del encoder
    assert os.listdir(tmp_path) == ["v.sqlite"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_a_thread_encodes_keeps_what_is_known(tmp_path: Path) -> None:
    go_on, inside = threading.Event(), threading.Event()

    class Waiting(Recording):
        def encode(self, texts: Any) -> Any:
            if "wait" in texts:
                inside.set()
                go_on.wait(30)
            return super().encode(texts)

    encoder = CachedEncoder(Waiting(), store=tmp_path / "v")
    encoder.encode(["a"])
    thread = threading.Thread(target=encoder.encode, args=(["wait"],))
    thread.start()
    assert inside.wait(30)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        good = (encoder.encode(["a", "b"]) == expected(["a", "b"])).all()
        os._exit(0 if good and encoder.stats()["memory_hits"] == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    go_on.set()
    thread.join()
    assert rows_of(tmp_path / "v") == 3


# --- an encoder that fails ---


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.full((2, 4), np.nan), "expected finite vectors from Returning, got NaN"),
        ([[1.0, np.inf], [1.0, 0.0]], "got NaN or infinity"),
        (np.zeros((2, 4)), "of length 1 from Returning, got one of length 0"),
        (np.ones((2, 4)), "got one of length 2; divide"),
        (np.eye(3), r"of shape \(2, d\) from Returning, got shape \(3, 3\)"),
        (np.ones(2), r"got shape \(2,\)"), ("vectors", "got a str"),
        (None, "expected vectors|expected finite|shape"),
    ],
)  # fmt: skip
def test_vectors_that_are_none_are_refused_and_not_kept(
    tmp_path: Path, vectors: Any, message: str
) -> None:
    inner = Returning(vectors)
    encoder = CachedEncoder(inner, store=tmp_path / "v")
    with pytest.raises(GuidanceError, match=message):
        encoder.encode(["a", "b"])
    assert not (tmp_path / "v").exists()
    assert encoder.stats()["texts"] == 0
    inner.vectors = np.eye(2)
    assert encoder.encode(["a", "b"]).tolist() == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "hashing"}, "the name 'hashing'; resolve_encoder gives what it stands for"),
        ({"encoder": 3}, r"an object with encode\(texts\)"),
        ({"encoder": HashingEncoder}, "call it first"),
        ({"limit": 0}, "limit must be a whole number >= 1, got 0"),
        ({"limit": True}, "limit must be a whole number >= 1, got True"),
        ({"store": ""}, "store must be the path of a file, got ''"),
        ({"store": 3}, "store must be the path of a file, got 3"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        CachedEncoder(**{"encoder": HashingEncoder(8), **options})


# --- names ---


def test_a_name_with_a_store_gives_a_cached_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = resolve_encoder("hashing:8?store=v.sqlite")
    assert isinstance(encoder, CachedEncoder)
    np.testing.assert_array_equal(encoder.encode(GOALS), expected(GOALS))
    assert rows_of(tmp_path / "v.sqlite") == 3
    # One for all who ask while it is in use.
    assert resolve_encoder(f"hashing:8?store={tmp_path}/v.sqlite") is encoder
    assert resolve_encoder("hashing:16?store=v.sqlite") is not encoder


@pytest.mark.parametrize(
    "name", ["hashing?", "hashing?store", "hashing?store=", "hashing?path=v", "hashing:?store=v"]
)
def test_a_name_that_says_something_else_is_refused(name: str) -> None:
    with pytest.raises(InvalidOptionError, match=r"expected (NAME.store=PATH|hashing:DIMENSIONS)"):
        resolve_encoder(name)
