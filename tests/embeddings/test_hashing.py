"""The encoder without a model, and the names of encoders."""

import hashlib
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_wrappers.embeddings import Encoder, HashingEncoder, resolve_encoder
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.worlds.crafter.rules import describe

# However slow the machine is at the moment.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

GOALS = describe("crafter").goals


def similarity(a, b, **options):
    first, second = HashingEncoder(**options).encode([a, b])
    return float(first @ second)


@examples
@given(st.lists(st.text()), st.integers(8, 300))
def test_rows_are_finite_and_of_unit_length(texts, dimensions):
    vectors = HashingEncoder(dimensions).encode(texts)
    assert vectors.shape == (len(texts), dimensions)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-6)


@examples
@given(st.lists(st.text(), min_size=1))
def test_a_text_has_the_same_vector_in_every_batch(texts):
    encoder = HashingEncoder(32)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_array_equal(encoder.encode(texts), alone)
    np.testing.assert_array_equal(HashingEncoder(32).encode(texts[::-1])[::-1], alone)


def test_the_vectors_are_the_same_in_every_process():
    code = (
        "import hashlib; from llm_wrappers.worlds.crafter.rules import describe;"
        "from llm_wrappers.embeddings import HashingEncoder;"
        "vectors = HashingEncoder().encode(describe('crafter').goals);"
        "print(hashlib.sha256(vectors.tobytes()).hexdigest())"
    )
    here = hashlib.sha256(HashingEncoder().encode(GOALS).tobytes()).hexdigest()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == here


class TestSimilarity:
    def test_shared_words_and_parts_of_words_are_similar(self):
        assert similarity("collect wood", "collect wood") == pytest.approx(1)
        assert similarity("collect wood", "collect stone") > 0.3
        assert similarity("collect wood", "collect wooden planks") > 0.3
        assert abs(similarity("collect wood", "eat plant")) < 0.2


def test_a_text_without_words_gets_a_fixed_axis():
    vectors = HashingEncoder(8).encode(["", "  \n"])
    assert vectors.tolist() == [[1] + [0] * 7] * 2


@pytest.mark.parametrize("dimensions", [7, 0, -8, 8.0, "8", True, None])
def test_too_few_dimensions_are_refused(dimensions):
    message = f"dimensions must be a whole number >= 8, got {dimensions!r}"
    with pytest.raises(InvalidOptionError, match=f"^{re.escape(message)}$"):
        HashingEncoder(dimensions)


class TestNames:
    @pytest.mark.parametrize(("name", "dimensions"), [("hashing", 256), ("hashing:8", 8)])
    def test_a_name_gives_the_encoder(self, name, dimensions):
        encoder = resolve_encoder(name)
        assert isinstance(encoder, HashingEncoder)
        assert encoder.dimensions == dimensions

    def test_an_object_is_taken_as_it_is(self):
        class Other:
            def encode(self, texts):
                return np.ones((len(texts), 1), np.float32)

        encoder = Other()
        assert isinstance(encoder, Encoder)
        assert resolve_encoder(encoder) is encoder

    @pytest.mark.parametrize("name", ["", "hash", "minilm", "HASHING"])
    def test_an_unknown_name_is_refused(self, name):
        with pytest.raises(UnknownNameError, match=f"one of one-hot, hashing.*; got {name!r}"):
            resolve_encoder(name)

    def test_too_few_dimensions_are_refused(self):
        with pytest.raises(InvalidOptionError, match=">= 8, got 4"):
            resolve_encoder("hashing:4")

    @pytest.mark.parametrize(
        ("encoder", "kind"),
        [(None, "a NoneType"), (len, "a builtin_function_or_method"), (3, "a int")],
    )
    def test_what_is_no_encoder_is_refused(self, encoder, kind):
        with pytest.raises(
            InvalidOptionError, match=rf"an object with encode\(texts\).*got {kind}"
        ):
            resolve_encoder(encoder)
