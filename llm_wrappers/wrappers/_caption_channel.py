"""The captions of n sub-environments and their vectors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.embeddings import CachedEncoder, Encoder, resolve_encoder
from llm_wrappers.errors import GuidanceWarning

__all__ = ["CaptionChannel"]


class CaptionChannel:
    """States to captions to vectors, batch first; shared by both caption observation wrappers.

    Args:
        n: The number of sub-environments.
        captioner: Says what each state is.
        encoder: What `resolve_encoder` takes; put behind a memory if it has none.
    """

    def __init__(self, n: int, *, captioner: Captioner, encoder: str | Encoder) -> None:
        self.captioner = captioner
        resolved = resolve_encoder(encoder)
        self._encoder = resolved if isinstance(resolved, CachedEncoder) else CachedEncoder(resolved)
        self._vectors = np.zeros((n, self._encoder.dimensions), dtype=np.float32)
        self._texts = np.full(n, "", dtype=object)
        self._warned = False
        self._counts = {"states": 0, "failures": 0}

    @property
    def space(self) -> gym.spaces.Box:
        """The space of one vector."""
        return gym.spaces.Box(-1.0, 1.0, (self._vectors.shape[1],), np.float32)

    def update(
        self, observations: Any, infos: Mapping[str, Any], rows: NDArray[np.intp] | None = None
    ) -> None:
        """Caption the current states.

        Args:
            observations: Batched along the first axis; m of them.
            infos: In the form of gymnasium.vector, of the same m.
            rows: Which m of the n sub-environments these are; None for all.
        """
        captions = self.captioner.state_captions(self.captioner.facts(observations, infos))
        where = slice(None) if rows is None else rows
        self._texts[where] = captions
        self._vectors[where] = self._encoded(captions)
        self._counts["states"] += len(captions)

    def current_vectors(self) -> NDArray[np.float32]:
        """Return fresh vectors of the current captions, shape (n, d); zero where that failed."""
        return self._vectors.copy()

    def texts(self) -> NDArray[np.object_]:
        """Return the current captions, shape (n,)."""
        return self._texts.copy()

    def stats(self) -> dict[str, Any]:
        """Return the counters since construction."""
        return dict(self._counts)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counters."""
        self._counts.update(state["counts"])

    def _encoded(self, captions: Sequence[str]) -> NDArray[np.float32]:
        try:
            vectors = self._encoder.encode(captions)
        except Exception as error:
            if len(captions) > 1:
                # One text that fails must not take the others with it.
                return np.concatenate([self._encoded([caption]) for caption in captions])
            self._counts["failures"] += len(captions)
            self._warn(error)
            return np.zeros((len(captions), self._vectors.shape[1]), dtype=np.float32)
        # A number of a unit vector may be above 1 by rounding.
        return np.clip(vectors, -1.0, 1.0)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the encoder failed ({type(error).__name__}: {error}); such captions are shown as "
                "the zero vector and counted in stats(); said once",
                GuidanceWarning,
                stacklevel=2,
            )
