"""Texts and their vectors, each encoded once."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.embeddings import Encoder
from llm_wrappers.errors import GuidanceError, GuidanceWarning, InvalidOptionError
from llm_wrappers.guidance.consult import is_for_the_user

__all__ = ["TextVectors"]

_MOST_TEXTS = 32_768
_MOST_ATTEMPTS = 3
_LENGTH_TOLERANCE = 1e-3
_NO_ROW = -1


class TextVectors:
    """An encoder behind checks, memory and counters.

    Each text is encoded once, those of one call together. A text whose vector is not finite or
    not of length one has no vector. Where the encoder raises or returns something of another
    shape, its texts are tried again when they come up again, three times in all; all of this is
    counted and warned of once.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._row_of: dict[str, int] = {}
        self._attempts: dict[str, int] = {}
        self._matrix: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)
        self._used = 0
        self._worked = False
        self._warned = False
        self.counts = dict.fromkeys(("texts_encoded", "encoder_failures", "bad_vectors"), 0)

    def learn(self, texts: Iterable[str]) -> None:
        """Encode those of the texts that are not known yet, in one call."""
        wanted = list(dict.fromkeys(texts))
        missing = [text for text in wanted if text not in self._row_of]
        if len(self._row_of) + len(missing) > _MOST_TEXTS:
            # Start over with what this call needs.
            self._row_of, self._attempts, self._used, missing = {}, {}, 0, wanted
        if missing:
            self._encode(missing)

    def settled(self, texts: Iterable[str]) -> bool:
        """Return whether no text is still to be tried again."""
        return all(text in self._row_of for text in texts)

    def row(self, text: str) -> int | None:
        """Return where the vector of a text stands, None if it has none."""
        row = self._row_of.get(text, _NO_ROW)
        return None if row == _NO_ROW else row

    def vectors(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Return fresh vectors of length one, shape (len(rows), d)."""
        vectors: NDArray[np.float32] = self._matrix[list(rows)]
        return vectors

    def dimensions(self, probe: str) -> int:
        """Return d, the length of a vector, encoding a text to find it."""
        answer = self._encoder.encode([probe])
        try:
            vectors, unit = _checked(answer, 1, None)
        except GuidanceError as error:
            raise InvalidOptionError(f"the encoder does not fit: {error}") from error
        if not unit[0]:
            raise InvalidOptionError(
                f"the encoder must return finite vectors of length one, got {vectors[0]} for "
                f"{probe!r}"
            )
        self._store([probe], vectors, unit)
        return int(vectors.shape[1])

    def _encode(self, texts: list[str]) -> None:
        expected = self._matrix.shape[1] or None
        try:
            vectors, unit = _checked(self._encoder.encode(list(texts)), len(texts), expected)
        except Exception as error:
            if is_for_the_user(error, worked=self._worked):
                raise
            if len(texts) > 1:
                # One bad text must not take the vectors away from the others.
                for text in texts:
                    self._encode([text])
            else:
                self._meet(error, texts[0])
            return
        self._store(texts, vectors, unit)

    def _store(
        self, texts: Sequence[str], vectors: NDArray[np.float32], unit: NDArray[np.bool_]
    ) -> None:
        self._worked = True
        self._make_room(len(texts), vectors.shape[1])
        self.counts["texts_encoded"] += len(texts)
        for text, vector, is_unit in zip(texts, vectors, unit.tolist(), strict=True):
            if not is_unit:
                self._row_of[text] = _NO_ROW
                self.counts["bad_vectors"] += 1
                self._warn(f"returned no finite vector of length one for {text!r}")
                continue
            self._matrix[self._used] = vector
            self._row_of[text] = self._used
            self._used += 1

    def _make_room(self, more: int, dimensions: int) -> None:
        needed = self._used + more
        if needed > len(self._matrix):
            grown = np.zeros((max(needed, 2 * len(self._matrix)), dimensions), dtype=np.float32)
            if self._used:
                grown[: self._used] = self._matrix[: self._used]
            self._matrix = grown

    def _meet(self, error: Exception, text: str) -> None:
        self.counts["encoder_failures"] += 1
        self._warn(f"failed for {text!r} ({type(error).__name__}: {error})")
        attempts = self._attempts.get(text, 0) + 1
        self._attempts[text] = attempts
        if attempts == _MOST_ATTEMPTS:
            self._row_of[text] = _NO_ROW

    def _warn(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the encoder {what}; such a text is similar to none, and is counted in stats(); "
                "said once",
                GuidanceWarning,
                stacklevel=2,
            )


def _checked(
    answer: Any, n: int, dimensions: int | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the vectors, scaled to length one exactly, and which of them had that length."""
    vectors = np.asarray(answer)
    if vectors.ndim != 2 or len(vectors) != n or vectors.dtype.kind != "f" or not vectors.size:
        raise GuidanceError(
            f"expected floats of shape ({n}, d), got {vectors.dtype} of shape {vectors.shape}"
        )
    if dimensions is not None and vectors.shape[1] != dimensions:
        raise GuidanceError(f"expected {dimensions} dimensions as before, got {vectors.shape[1]}")
    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1)
    unit = np.abs(lengths - 1.0) < _LENGTH_TOLERANCE
    exact[unit] /= lengths[unit, None]
    return exact.astype(np.float32), unit
