"""The vector of a state's caption in the observation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.batches import facts_of
from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.embeddings import CachedEncoder, Encoder, resolve_encoder
from llm_wrappers.errors import GuidanceWarning
from llm_wrappers.parts import Tally
from llm_wrappers.wrappers._core import Core, Place, Start, Step, joined, joined_space
from llm_wrappers.wrappers._guided import Guided
from llm_wrappers.wrappers._layer import Layer

__all__ = ["CaptionMethods", "CaptionObservationWrapper", "Captions"]


class Captions(Core):
    """States to captions to vectors; the options are those of `CaptionObservationWrapper`."""

    def __init__(
        self,
        place: Place,
        *,
        captioner: Captioner | None,
        encoder: str | Encoder,
        key: str,
        info_text: bool,
    ) -> None:
        resolved = resolve_encoder(encoder)
        self._encoder = resolved if isinstance(resolved, CachedEncoder) else CachedEncoder(resolved)
        dimensions = self._encoder.dimensions
        self._vectors = np.zeros((place.n, dimensions), dtype=np.float32)
        self._counts = Tally("states", "failures")
        self._warned = False
        self._key = key
        self._says_text = checks.flag("info_text", info_text)
        super().__init__(
            place,
            {"caption_text": np.full(place.n, "", dtype=object)} if info_text else {},
            parts={"counts": self._counts},
            voice=place.world.voice(captioner),
        )
        box = gym.spaces.Box(-1.0, 1.0, (dimensions,), np.float32)
        self.space = joined_space(place.observation_space, key, box)

    def begin(self, start: Start) -> None:
        """Caption the first states of episodes."""
        assert self.voice is not None
        self._caption(start.rows, self.voice.shown())

    def step(self, step: Step) -> None:
        """Caption the states that the step led to."""
        assert self.voice is not None
        self._caption(step.rows, self.voice.reached())

    def show(self, observations: Any, row: Any = slice(None)) -> Any:
        """Return observations with the vectors of the captions; zero where that failed."""
        return joined(observations, self._key, self._vectors[row].copy())

    def _caption(self, rows: NDArray[np.intp], facts: Sequence[Facts]) -> None:
        if not len(rows):
            return
        assert self.voice is not None
        captions = self.voice.captioner.state_captions(facts_of(facts, rows))
        self._vectors[rows] = self._encoded(captions)
        self._counts["states"] += len(captions)
        if self._says_text:
            self.told["caption_text"][rows] = captions

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


class CaptionMethods(Layer):
    """The options of `CaptionObservationWrapper`, in front of one environment or of many."""

    core: Captions

    def __init__(
        self,
        env: Any,
        *,
        captioner: Captioner | None = None,
        encoder: str | Encoder = "hashing",
        key: str = "caption",
        info_text: bool = True,
    ) -> None:
        self._guide(
            env, Captions, captioner=captioner, encoder=encoder, key=key, info_text=info_text
        )


class CaptionObservationWrapper(CaptionMethods, Guided):
    """Adds the vector of the state's caption to the observation.

    ELLM (arXiv 2302.06692) gives its policy a text embedding of the state beside the pixels. The
    caption comes from the environment's captioner and no language model is asked. Reward and
    episode ends are untouched.

    A Box or other observation becomes ``Dict(caption=..., obs=...)``; a Dict gains a key. Policies
    then need "MultiInputPolicy". The text is in ``info["caption_text"]``. A text is encoded once,
    and each further time its vector is looked up.

    An encoder that fails does not stop training: the caption is shown as the zero vector, it is
    counted in `stats` and a warning is issued once.

    A vector version exists: `llm_wrappers.wrappers.vector.CaptionObservationWrapper`.

    Args:
        env: The environment.
        captioner: Turns observations into captions; None for the environment's own, or a generic
            one.
        encoder: An encoder or its name, see `llm_wrappers.embeddings.resolve_encoder`.
        key: The key of the caption in the observation.
        info_text: Whether the caption itself is in ``info``; some trainers (TorchRL,
            `NumpyToTorch`) cannot take texts there.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If a name is not known.
        GuidanceError: If the encoder returns no finite unit vector for the empty text, from which
            the wrapper learns the length of its vectors.

    >>> import gymnasium as gym
    >>> env = CaptionObservationWrapper(gym.make("CartPole-v1"), encoder="hashing:32")
    >>> observation, info = env.reset(seed=0)
    >>> sorted(observation), observation["caption"].shape
    (['caption', 'obs'], (32,))
    """
