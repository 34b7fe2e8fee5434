"""An encoder that encodes no text twice."""

from __future__ import annotations

import inspect
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.embeddings._vector_store import Vectors, VectorStore, other_dimensions
from llm_wrappers.embeddings.encoder import ENCODERS, Encoder, checked_texts, checked_vectors
from llm_wrappers.errors import GuidanceError, InvalidOptionError
from llm_wrappers.storage.forks import ForkSafeLock

__all__ = ["CachedEncoder"]


class CachedEncoder:
    """Another encoder's vectors, each text encoded once.

    Vectors are remembered in memory and, if there is a store, in a file that other runs and
    processes share. The first vector of a text stays its vector, so that rounding, which depends
    on the other texts of a batch, does not show. Two processes that meet a new text at the same
    time both encode it and use what the first of them stored.

    A store that cannot be read or written stops nothing: vectors stay in memory, it is counted in
    `stats` and a warning is issued once. What is read back is checked, and what is damaged is
    encoded again. The file is meant for local disks; on a network disk its locks have to work.

    Safe for threads, forks and processes. A pickle holds the options and no vectors.

    Args:
        encoder: The encoder that does the work, as an object; for names see `resolve_encoder`.
        store: A file for the vectors, which is made if it is not there; None for memory only.
            Vectors of several encoders may share a file: they are told apart by the encoder's
            `name`, which it needs for this.
        limit: How many vectors to keep in memory at most; the least recently used leave first.
            100,000 (our choice) of the default model take about 200 MB.

    Raises:
        InvalidOptionError: If an option is outside what is documented, or the store holds vectors
            of another length from an encoder of this name, or is another kind of database.

    >>> from llm_wrappers.embeddings import HashingEncoder
    >>> encoder = CachedEncoder(HashingEncoder(8))
    >>> _ = encoder.encode(["collect wood", "collect wood"]), encoder.encode(["collect wood"])
    >>> encoder.stats()["texts"], encoder.stats()["encoded"]
    (3, 1)
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        store: str | os.PathLike[str] | None = None,
        limit: int = 100_000,
    ) -> None:
        checks.whole("limit", limit, least=1)
        if store is not None and (not isinstance(store, str | os.PathLike) or not os.fspath(store)):
            raise InvalidOptionError(f"store must be the path of a file, got {store!r}")
        self._encoder = ENCODERS.adapted(encoder)
        # Statically, because reading a name may look for a model.
        if store is not None and inspect.getattr_static(encoder, "name", None) is None:
            raise InvalidOptionError(
                f"a store needs an encoder with a name, got {type(encoder).__name__}; give it an "
                "attribute name that no other encoder has"
            )
        self._path = None if store is None else os.fspath(store)
        self._limit = limit
        self._begin()

    @property
    def name(self) -> str:
        """What the encoder inside is called."""
        name: str = getattr(self._encoder, "name")  # noqa: B009 - not every encoder has one
        return name

    @property
    def dimensions(self) -> int:
        """The length of a vector; the empty text is encoded if that is not known yet."""
        with self._lock:
            return self._width or self.encode([""]).shape[1]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text in a fresh array, shape (n, dimensions).

        Args:
            texts: Any texts; those not known yet go to the encoder inside in one call.

        Raises:
            InvalidOptionError: If these are no texts, or the store is of another encoder.
            GuidanceError: If the encoder returns no finite unit vectors; nothing is kept then.
        """
        listed = checked_texts(texts)
        if not listed:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        with self._lock:
            known = self._remembered(listed)
            missing = [text for text in dict.fromkeys(listed) if text not in known]
            stored = self._read(missing) if missing else {}
            known.update(stored)
            missing = [text for text in missing if text not in stored]
            if missing:
                known.update(self._encoded(missing))
            self._keep(known)
            self._counts["texts"] += len(listed)
            self._counts["memory_hits"] += len(listed) - len(stored) - len(missing)
            self._counts["store_hits"] += len(stored)
            self._counts["encoded"] += len(missing)
            return np.stack([known[text] for text in listed])

    def stats(self) -> dict[str, int]:
        """Return counters since construction.

        Of all `texts`, `memory_hits` were remembered (or repeated in the call), `store_hits` came
        from the file and `encoded` from the encoder; `store_failures` counts uses of the file that
        failed, and `damaged_rows` what it held that was not used.
        """
        with self._lock:
            faults = {"store_failures": 0, "damaged_rows": 0}
            if self._store is not None:
                faults = {
                    "store_failures": self._store.failures,
                    "damaged_rows": self._store.damaged_rows,
                }
            return {**self._counts, **faults}

    def __repr__(self) -> str:
        return f"CachedEncoder({self._encoder!r}, store={self._path!r}, limit={self._limit})"

    def __deepcopy__(self, memo: dict[int, Any]) -> CachedEncoder:
        # Specs of environments are copied deeply, and the copy is to know what this one knows.
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"_encoder": self._encoder, "_path": self._path, "_limit": self._limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def _begin(self) -> None:
        self._lock = ForkSafeLock()
        self._memory: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._store = None if self._path is None else VectorStore(self._path)
        self._width: int | None = None
        self._counts = dict.fromkeys(("texts", "memory_hits", "store_hits", "encoded"), 0)

    def _remembered(self, texts: Sequence[str]) -> Vectors:
        memory = self._memory
        return {text: memory[text] for text in texts if text in memory}

    def _read(self, texts: list[str]) -> Vectors:
        if self._store is None:
            return {}
        found = self._store.read(self.name, texts)
        for vector in found.values():
            self._check_width(len(vector))
        return found

    def _encoded(self, texts: list[str]) -> Vectors:
        rows = checked_vectors(
            self._encoder.encode(texts),
            count=len(texts),
            dimensions=None,
            owner=type(self._encoder).__name__,
        )
        self._check_width(rows.shape[1])
        # Rows of their own, so that one of them does not hold the whole batch in memory.
        vectors = {text: row.copy() for text, row in zip(texts, rows, strict=True)}
        return vectors if self._store is None else self._store.write(self.name, vectors)

    def _check_width(self, width: int) -> None:
        if self._width is None:
            self._width = width
        elif self._width != width and self._path is not None:
            raise other_dimensions(self._path, self.name, held=self._width, got=width)
        elif self._width != width:
            raise GuidanceError(
                f"expected vectors of length {self._width} from {type(self._encoder).__name__}, as "
                f"before, got length {width}"
            )

    def _keep(self, vectors: Vectors) -> None:
        for text, vector in vectors.items():
            self._memory[text] = vector
            self._memory.move_to_end(text)
        while len(self._memory) > self._limit:
            self._memory.popitem(last=False)
