"""What was recorded by an earlier version of this package replays, byte for byte.

`recorded/` was written by that version: an export, and the dumps of its two kinds of SQLite files.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from llm_wrappers.embeddings import CachedEncoder, HashingEncoder
from llm_wrappers.llm import LLM, Budget, export_answers, import_answers, open_store

RECORDED = Path(__file__).parent / "recorded"
KEYS = [
    "4e941e7e821e8885b6f8f0fe8bf8088f515ee85a3c8034f2b0b9dc56c95e65c5",
    "80fd2e176008824a562352ab7fba97aa34deaf9ad74f96f810265843ad56c560",
    "87ff0fb1430a7502c230de528712e86730cebac7640a1888b4fb818c432c586e",
]


class Verdict(BaseModel):
    reason: str
    useful: bool


def restored(dump, path, *, application):
    """Make an SQLite file as the earlier version left it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript((RECORDED / dump).read_text(encoding="utf-8"))
        connection.execute(f"PRAGMA application_id = {int.from_bytes(application, 'big')}")
        connection.execute("PRAGMA user_version = 1")
    return path


@pytest.fixture(params=["file", "export"])
def cache(request, tmp_path):
    if request.param == "file":
        return restored("answers.sql", tmp_path / "a.sqlite", application=b"LLMW")
    with closing(open_store(tmp_path / "a.sqlite")) as store:
        report = import_answers(store, RECORDED / "answers.jsonl")
        assert (report.added, report.rejected) == (3, ())
    return tmp_path / "a.sqlite"


def test_answers_replay_under_the_keys_of_then(cache):
    with LLM("openai/gpt-5-mini", cache=cache, mode="replay", temperature=0.5) as llm:
        first, second = (llm.ask("Where is water?", sample=sample) for sample in (0, 1))
        verdict = llm.ask(
            [
                {"role": "system", "content": "You judge."},
                {"role": "user", "content": "chop tree?"},
            ],
            schema=Verdict,
            prompt_version="7",
            params={"max_tokens": 50},
        )
        assert first.text == second.text == "West — über den Fluss"
        assert verdict.parsed == Verdict(reason="wood is near", useful=True)
        assert sorted(answer.key for answer in (first, second, verdict)) == KEYS
        assert verdict.completion.tokens == 111


def test_an_export_has_the_bytes_of_then(cache, tmp_path):
    with closing(open_store(cache, read_only=True)) as store:
        export_answers(store, tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (RECORDED / "answers.jsonl").read_bytes()


def test_a_named_budget_goes_on_with_what_was_spent(tmp_path):
    path = restored("answers.sql", tmp_path / "a.sqlite", application=b"LLMW")
    budget = Budget(calls=10, tokens=100_000, name="before")
    with LLM("openai/gpt-5-mini", cache=path, budget=budget) as llm:
        assert (llm.spent.calls, llm.spent.tokens) == (3, 207)


def test_vectors_of_then_are_read(tmp_path):
    path = restored("vectors.sql", tmp_path / "v.sqlite", application=b"LLMV")
    encoder = CachedEncoder(HashingEncoder(8), store=path)
    texts = ["collect wood", "eat cow"]
    np.testing.assert_array_equal(encoder.encode(texts), HashingEncoder(8).encode(texts))
    assert encoder.stats()["store_hits"] == 2
