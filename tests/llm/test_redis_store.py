"""The answer cache on a Redis server: passwords, damage, and servers that fail."""

import pickle
import socket
import threading
import time
import traceback

import pytest
import redis
from redis_server import PASSWORD, URL_PASSWORD, running_redis
from store_samples import a_failure, a_record

from llm_wrappers.errors import (
    CacheCorruptError,
    CacheError,
    DependencyNotInstalled,
    InvalidOptionError,
)
from llm_wrappers.llm.cache.redis_store import RedisStore

RECORD = a_record()
KEY = RECORD.key


@pytest.fixture(scope="session")
def redis_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("redis")


@pytest.fixture(scope="session")
def redis_url(redis_folder):
    with running_redis(redis_folder) as url:
        yield url


@pytest.fixture
def prefix(tmp_path):
    return f"{tmp_path.name}:"


@pytest.fixture
def store(redis_url, prefix):
    store = RedisStore(redis_url, prefix=prefix)
    yield store
    store.close()


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def everything_said(error):
    """Return all that a person may see of an exception, its chain included."""
    told = "".join(traceback.format_exception(error))
    while error is not None:
        told += repr(error) + repr(error.args)
        error = error.__cause__ or error.__context__
    return told


def assert_no_password(text):
    assert PASSWORD not in text
    assert URL_PASSWORD not in text


class TestNames:
    def test_begin_with_the_prefix(self, store, client, prefix):
        store.put(RECORD)
        store.put_failure("a", a_failure())
        store.claim("b", owner="me", seconds=60)
        store.transact("spending", lambda state: state.update(dollars=1))
        assert sorted(client.scan_iter(f"{prefix}*")) == [
            f"{prefix}answer:{KEY}", f"{prefix}by_age", f"{prefix}claim:b",
            f"{prefix}document:spending", f"{prefix}failure:a",
        ]  # fmt: skip


class TestDamage:
    @pytest.mark.parametrize(
        "change",
        [
            lambda line: line.replace(b"West", b"East"),
            lambda line: line.replace(b"West", b"We\xfft"), lambda line: line[:50],
            lambda line: b"null",
        ],
        ids=["answer", "not-unicode", "short", "null"],
    )  # fmt: skip
    def test_is_reported_and_never_returned(self, store, redis_url, prefix, change):
        store.put(RECORD)
        store.put(a_record("another", prompt_tokens=3))
        name = f"{prefix}answer:{KEY}"
        with redis.Redis.from_url(redis_url) as raw:
            raw.set(name, change(raw.get(name)))
        with pytest.raises(CacheCorruptError, match=f"the answer with the key {KEY} in") as caught:
            store.get(KEY)
        assert f"cache prune {store.location} --damaged" in str(caught.value)
        assert_no_password(everything_said(caught.value))
        with pytest.raises(CacheCorruptError):
            list(store.records())
        stats = store.stats()
        assert (stats["answers"], stats["tokens"]) == (2, 3)
        assert store.prune(before=1e12) == 1
        assert store.put(RECORD) == RECORD
        assert store.get(KEY) == RECORD


class TestTransact:
    def test_runs_again_when_another_process_was_faster(self, store, redis_url, prefix):
        other = RedisStore(redis_url, prefix=prefix)
        seen = []

        def add(state):
            seen.append(state.get("n", 0))
            if len(seen) < 4:
                other.transact("n", lambda theirs: theirs.update(n=theirs.get("n", 0) + 10))
            state["n"] = state.get("n", 0) + 1
            return state["n"]

        assert store.transact("n", add) == 31
        assert seen == [0, 10, 20, 30]
        assert other.transact("n", dict) == {"n": 31}
        other.close()


class TestPasswords:
    def test_go_with_a_pickle_because_a_worker_needs_them(self, store):
        store.put(RECORD)
        other = pickle.loads(pickle.dumps(store))
        assert other.get(KEY) == RECORD
        assert other.prefix == store.prefix
        other.close()

    def test_that_are_wrong(self, redis_url):
        wrong = redis_url.replace(URL_PASSWORD, "wr0ng%2Fone")
        with pytest.raises(CacheError, match="check the user and the password") as caught:
            RedisStore(wrong).get(KEY)
        told = everything_said(caught.value)
        assert "wr0ng" not in told
        assert_no_password(told)

    def test_that_a_server_sends_back(self):
        """As old ones do: they repeat the arguments of a command that they do not know."""
        with socket.create_server(("127.0.0.1", 0)) as server:

            def repeat():
                while True:
                    try:
                        client, _ = server.accept()
                    except OSError:
                        return
                    with client:
                        sent = client.recv(10_000).decode().replace("\r\n", " ")
                        client.sendall(f"-ERR unknown command, with args {sent}\r\n".encode() * 9)

            threading.Thread(target=repeat, daemon=True).start()
            url = f"redis://:{URL_PASSWORD}@127.0.0.1:{server.getsockname()[1]}/0"
            with pytest.raises(CacheError) as caught:
                RedisStore(url).get(KEY)
            server.shutdown(socket.SHUT_RDWR)
        assert "***" in str(caught.value)
        assert_no_password(everything_said(caught.value))

    @pytest.mark.parametrize(
        ("url", "location"),
        [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://me:s3cret@host:7000/2", "redis://host:7000/2"),
            ("rediss://:s3cret@host/", "rediss://host:6379/0"),
            ("redis://host?db=3&password=s3cret&username=me", "redis://host:6379/3"),
            ("redis://:s3cret@[::1]:7000/1", "redis://[::1]:7000/1"),
            ("unix://me:s3cret@/run/redis.sock?db=4", "unix:///run/redis.sock"),
            ("unix:///run/redis.sock?password=s3cret", "unix:///run/redis.sock"),
        ],
    )
    def test_are_left_out_of_the_location(self, url, location):
        assert RedisStore(url).location == location

    @pytest.mark.parametrize(
        "url",
        [
            "redis://:s3cret/x@host:6379/0",
            "redis://:s3cret#x@host:6379/0",
            "redis://:s3cret?x@host:6379/0",
            "redis://host:s3cret/0",
            "redis://host:6379/s3cret",
            "redis://host?db=s3cret",
            "redis://:s3cret@/0",
            "redis://",
            "unix://:s3cret@",
            "http://:s3cret@host",
            "s3cret",
            "redis://[s3cret",
        ],
    )
    def test_are_not_repeated_when_a_url_is_refused(self, url):
        with pytest.raises(InvalidOptionError, match="expected a Redis URL such as") as caught:
            RedisStore(url)
        assert "s3cret" not in everything_said(caught.value).replace(repr(url), "")


class TestServersThatFail:
    def test_that_is_not_there(self):
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            started = time.monotonic()
            with pytest.raises(CacheError, match=f"redis://127.0.0.1:{port}/0") as caught:
                RedisStore(f"redis://:{URL_PASSWORD}@127.0.0.1:{port}/0").get(KEY)
        assert time.monotonic() - started < 5
        assert "check the URL, and that the server runs" in str(caught.value)
        assert_no_password(everything_said(caught.value))
        assert caught.value.__context__ is None

    def test_package_that_is_missing(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "redis", None)
        store = RedisStore("redis://localhost")
        with pytest.raises(DependencyNotInstalled, match=r"llm-wrappers\[redis\]"):
            store.get(KEY)


def test_a_socket_in_the_file_system(redis_url, redis_folder, prefix):
    store = RedisStore(f"unix://:{URL_PASSWORD}@{redis_folder}/redis.sock", prefix=prefix)
    assert store.location == f"unix://{redis_folder}/redis.sock"
    store.put(RECORD)
    tcp = RedisStore(redis_url, prefix=prefix)
    assert tcp.get(KEY) == RECORD
    store.close()
    tcp.close()
