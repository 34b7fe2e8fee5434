"""What every answer cache does, whatever keeps its data."""

import math
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from redis_server import running_redis
from store_samples import ALWAYS, a_failure, a_record, records

from llm_wrappers.errors import CacheError, CacheReadOnlyError, InvalidOptionError
from llm_wrappers.llm.cache.redis_store import RedisStore
from llm_wrappers.llm.cache.sqlite_store import SqliteStore
from llm_wrappers.llm.request import canonical_json

# However slow the machine is at the moment, and one store for all examples.
examples = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=["memory", "sqlite", "redis"])
def open_one(request, tmp_path):
    """Return a function that opens the same cache again; in memory, another one."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        prefix = f"test[*?]:{tmp_path.name}:"
        return lambda **options: RedisStore(url, prefix=prefix, **options)
    path = ":memory:" if request.param == "memory" else tmp_path / "cache.sqlite"
    return lambda **options: SqliteStore(path, **options)


@pytest.fixture
def store(open_one):
    store = open_one()
    yield store
    store.close()


# Answers in memory belong to one store.
not_in_memory = pytest.mark.parametrize("open_one", ["sqlite", "redis"], indirect=True)


def texts_of(store):
    return sorted(record.completion.text for record in store.records())


class TestAnswers:
    def test_what_is_put_is_got(self, store):
        record = a_record(prompt_tokens=12, dollars=0.25, logprobs=[{"token": "West"}])
        assert store.put(record) == record
        assert store.get(record.key) == record
        assert store.get(record.key[:-1]) is None

    @given(record=records)
    @examples
    def test_whatever_it_is(self, store, record):
        store.put(record, replace=True)
        kept = store.get(record.key)
        assert kept == record
        # Equal does not say that 1 is not True or 1.0.
        assert canonical_json(kept.model_dump()) == canonical_json(record.model_dump())
        assert kept.key == record.key

    def test_the_first_writer_wins(self, store):
        first, second = a_record(answer="West"), a_record(answer="East", created=2000.0)
        store.put(first)
        assert store.put(second) == first
        assert store.get(first.key) == first

    def test_records_come_in_the_order_of_their_keys(self, store):
        put = [store.put(a_record(f"prompt {number}")) for number in range(600)]
        assert list(store.records()) == sorted(put, key=lambda record: record.key)
        assert list(store.keys()) == sorted(record.key for record in put)

    def test_discarding_one(self, store):
        store.put(a_record())
        store.put(a_record("Where is iron?"))
        assert store.discard(a_record().key)
        assert not store.discard(a_record().key)
        assert store.get(a_record().key) is None
        assert store.stats()["answers"] == 1


class TestFailures:
    def test_are_remembered_until_they_expire(self, store):
        store.put_failure("a", a_failure(expires=time.time() + 0.05))
        store.put_failure("b", a_failure(expires=ALWAYS))
        store.put_failure("c", a_failure(expires=time.time() - 1))
        assert store.failure("b") == a_failure()
        assert store.failure("c") is None
        assert store.failure("d") is None
        time.sleep(0.1)
        assert store.failure("a") is None
        assert store.stats()["failures"] == 1

    @pytest.mark.parametrize("replace", [False, True])
    def test_an_answer_ends_it(self, store, replace):
        record = a_record()
        store.put_failure(record.key, a_failure())
        store.put_failure("other", a_failure())
        store.put(record, replace=replace)
        assert store.failure(record.key) is None
        assert store.failure("other") is not None


class TestClaims:
    def test_one_owner_at_a_time(self, store):
        assert store.claim("a", owner="me", seconds=60)
        assert not store.claim("a", owner="you", seconds=60)
        assert store.claim("b", owner="you", seconds=60)
        store.release("a", owner="me")
        assert store.claim("a", owner="you", seconds=60)

    def test_only_the_owner_can_release(self, store):
        store.claim("a", owner="me", seconds=60)
        store.release("a", owner="you")
        assert not store.claim("a", owner="you", seconds=60)
        store.release("nothing", owner="me")

    def test_expired_ones_are_taken_over(self, store):
        store.claim("a", owner="me", seconds=0.05)
        time.sleep(0.1)
        assert store.claim("a", owner="you", seconds=60)
        assert not store.claim("a", owner="me", seconds=60)
        store.release("a", owner="me")
        assert not store.claim("a", owner="me", seconds=60)

    def test_an_answer_ends_it(self, store):
        record = a_record()
        store.claim(record.key, owner="me", seconds=60)
        store.put(record)
        assert store.claim(record.key, owner="you", seconds=60)


class TestDocuments:
    def test_are_empty_at_first_and_kept(self, store):
        assert store.transact("spending", lambda state: dict(state)) == {}
        store.transact("spending", lambda state: state.update(dollars=0.1, models=["a"]))
        assert store.transact("spending", dict) == {"dollars": 0.1, "models": ["a"]}
        assert store.transact("other", dict) == {}

    def test_what_raises_changes_nothing(self, store):
        def fail(state):
            state["dollars"] = 99
            raise ZeroDivisionError("on purpose")

        store.transact("spending", lambda state: state.update(dollars=1))
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            store.transact("spending", fail)
        with pytest.raises(ValueError, match="not JSON compliant"):
            store.transact("spending", lambda state: state.update(dollars=math.nan))
        with pytest.raises(TypeError):
            store.transact("spending", lambda state: state.update(dollars={1}))
        assert store.transact("spending", dict) == {"dollars": 1}

    def test_no_change_is_lost_between_threads(self, store):
        def add(state):
            state["count"] = state.get("count", 0) + 1
            return state["count"]

        with ThreadPoolExecutor(8) as pool:
            counts = [pool.submit(store.transact, "n", add) for _ in range(80)]
        assert sorted(count.result() for count in counts) == list(range(1, 81))


class TestStats:
    def test_of_something(self, store):
        store.put(a_record("1", prompt_tokens=10, completion_tokens=5, dollars=0.5, created=30.0))
        store.put(a_record("2", prompt_tokens=1, dollars=0.25, created=10.5))
        store.put(a_record("3", model="another", prompt_tokens=4, dollars=None, created=20.0))
        stats = dict(store.stats())
        assert stats.pop("bytes") > 500
        assert stats == {
            "answers": 3, "failures": 0, "tokens": 20, "dollars": 0.75,
            "models": {"another": 1, "openai/gpt-5-mini": 2}, "oldest": 10.5, "newest": 30.0,
        }  # fmt: skip


class TestPrune:
    @pytest.fixture(autouse=True)
    def _answers(self, store):
        for number in range(6):
            model = "even" if number % 2 == 0 else "odd"
            store.put(a_record(str(number), str(number), model=model, created=float(number)))

    @pytest.mark.parametrize(
        ("options", "left"),
        [
            ({}, "012345"), ({"before": 3.0}, "345"), ({"before": 0.0}, "012345"),
            ({"model": "odd"}, "024"), ({"model": "unknown"}, "012345"),
            ({"before": 3.0, "model": "odd"}, "02345"), ({"max_entries": 2}, "45"),
            ({"max_entries": 6}, "012345"), ({"model": "odd", "max_entries": 2}, "24"),
            ({"before": 99.0}, ""),
        ],
        ids=str,
    )  # fmt: skip
    def test_deletes_and_counts(self, store, options, left):
        assert store.prune(**options) == 6 - len(left)
        assert texts_of(store) == list(left)
        assert store.stats()["answers"] == len(left)

    def test_a_number_that_is_none(self, store):
        with pytest.raises(InvalidOptionError, match="max_entries must be a whole number >= 1"):
            store.prune(max_entries=0)


class TestMaxEntries:
    def test_the_oldest_go(self, open_one):
        store = open_one(max_entries=3)
        for number in (5, 1, 4, 2, 3, 6):
            store.put(a_record(str(number), str(number), created=float(number)))
            assert store.stats()["answers"] <= 3
        assert texts_of(store) == ["4", "5", "6"]
        store.close()

    @pytest.mark.parametrize("wrong", [0, -1, 1.5, "3", True], ids=repr)
    def test_a_number_that_is_none(self, open_one, wrong):
        with pytest.raises(InvalidOptionError, match=rf"max_entries must be .*, got {wrong!r}"):
            open_one(max_entries=wrong)


class TestReadOnly:
    @not_in_memory
    def test_reads(self, store, open_one):
        store.put(a_record())
        store.put_failure("a", a_failure())
        reader = open_one(read_only=True)
        assert reader.read_only
        assert reader.get(a_record().key) == a_record()
        assert reader.failure("a") == a_failure()
        assert list(reader.records()) == [a_record()]
        assert reader.stats()["answers"] == 1
        reader.close()

    @not_in_memory
    @pytest.mark.parametrize(
        "change",
        [
            lambda store: store.put(a_record("new")),
            lambda store: store.put(a_record("new"), replace=True),
            lambda store: store.put_failure("a", a_failure()),
            lambda store: store.claim("a", owner="me", seconds=60),
            lambda store: store.release("a", owner="me"),
            lambda store: store.transact("a", dict), lambda store: store.discard("a"),
            lambda store: store.prune(before=ALWAYS),
        ],
        ids=["put", "replace", "put_failure", "claim", "release", "transact", "discard", "prune"],
    )  # fmt: skip
    def test_refuses_every_change(self, store, open_one, change):
        store.put(a_record())
        reader = open_one(read_only=True)
        with pytest.raises(CacheReadOnlyError, match=r"can be written, got .*read_only") as caught:
            change(reader)
        assert store.location in str(caught.value)
        assert isinstance(caught.value, CacheError)
        assert list(store.records()) == [a_record()]
        reader.close()


class TestCopies:
    @not_in_memory
    def test_a_pickle_has_the_options_and_opens_its_own_connection(self, store, open_one):
        store.put(a_record())
        for other in (pickle.loads(pickle.dumps(store)), pickle.loads(pickle.dumps(open_one()))):
            assert other.location == store.location
            assert other.get(a_record().key) == a_record()
            other.close()
        options = {"max_entries": 7, "read_only": True}
        other = pickle.loads(pickle.dumps(open_one(**options)))
        assert {name: getattr(other, name) for name in options} == options


def test_threads_share_one_store(store):
    together = threading.Barrier(8)

    def write(worker):
        together.wait()
        for number in range(20):
            own = a_record(f"{worker} {number}")
            assert store.put(own) == own
            assert store.get(own.key) == own
            store.put(a_record(f"common {number}", answer=str(worker)))
        return [store.get(a_record(f"common {n}").key).completion.text for n in range(20)]

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(write, range(8)))
    assert all(answers == seen[0] for answers in seen)
    assert store.stats()["answers"] == 8 * 20 + 20
