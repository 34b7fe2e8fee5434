"""How similar what happened is to what was suggested (ELLM)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from llm_wrappers import checks
from llm_wrappers.embeddings import Encoder
from llm_wrappers.embeddings.text_vectors import TextVectors
from llm_wrappers.parts import Tally, require_keys

__all__ = [
    "NO_EFFECT",
    "NO_MATCH",
    "Match",
    "Similarity",
]

NO_EFFECT = frozenset({"", "nothing happens", "nothing happened.", "you did nothing."})
"""Transition captions that say that nothing happened, where the captioner names no others."""

_MOST_PAIRS = 50_000
# The accuracy of float32 vectors: what differs less is the same, whatever the batch.
_DECIMALS = 6

_Pair: TypeAlias = "tuple[str, tuple[str, ...]]"


class Match(NamedTuple):
    """The suggested goal that a transition is most similar to.

    Args:
        goal: The goal, the empty string where none is similar enough.
        similarity: The cosine in [-1, 1], 0 where none is similar enough.
    """

    goal: str
    similarity: float


NO_MATCH = Match("", 0.0)


class Similarity:
    """Transition captions against suggested goals, batch first.

    The largest cosine counts if it is above the threshold (ELLM, arXiv 2302.06692, algorithm 1);
    of goals that are equally similar the first is taken. Answers are remembered, so that pairs
    met before cost a look-up.

    Args:
        encoder: Texts to unit vectors.
        threshold: In [-1, 1].
        no_effect: Captions that match nothing.
    """

    def __init__(
        self, encoder: Encoder, *, threshold: float, no_effect: Collection[str] = NO_EFFECT
    ) -> None:
        self.vectors = TextVectors(encoder)
        self._threshold = threshold
        self._no_effect = frozenset(no_effect)
        self._known: dict[_Pair, Match] = {}
        self.counts = Tally("pairs", "pairs_remembered")

    def stats(self) -> dict[str, int]:
        """Return the counters, of pairs and of texts."""
        return {**self.counts, **self.vectors.counts}

    def state_dict(self) -> dict[str, Any]:
        """Return the counters."""
        return self.stats()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        require_keys(state, self.stats())
        for counts in (self.counts, self.vectors.counts):
            counts.update({name: checks.whole(name, state[name], least=0) for name in counts})

    def matches(self, captions: Sequence[str], goals: Sequence[tuple[str, ...]]) -> list[Match]:
        """Return the best match of each transition.

        Args:
            captions: What happened in each of m transitions.
            goals: What was suggested for the state before each.
        """
        pairs = list(zip(captions, goals, strict=True))
        if len(self._known) > _MOST_PAIRS:
            self._known = {}
        missing = [pair for pair in pairs if pair not in self._known]
        self.counts["pairs"] += len(pairs)
        self.counts["pairs_remembered"] += len(pairs) - len(missing)
        new = self._new(dict.fromkeys(missing)) if missing else {}
        known = self._known
        return [known.get(pair) or new[pair] for pair in pairs]

    def _new(self, pairs: Iterable[_Pair]) -> dict[_Pair, Match]:
        new = {pair: NO_MATCH for pair in pairs}
        judged = [pair for pair in new if pair[1] and self._says_something(pair[0])]
        self.vectors.learn(text for caption, goals in judged for text in (caption, *goals))
        new.update((pair, self._match(*pair)) for pair in judged)
        unsettled = {p for p in judged if not self.vectors.settled((p[0], *p[1]))}
        self._known.update((p, match) for p, match in new.items() if p not in unsettled)
        return new

    def _says_something(self, caption: str) -> bool:
        return caption.strip() not in self._no_effect

    def _match(self, caption: str, goals: tuple[str, ...]) -> Match:
        row = self.vectors.row(caption)
        places = [(goal, self.vectors.row(goal)) for goal in goals]
        usable = [(goal, place) for goal, place in places if place is not None]
        if row is None or not usable:
            return NO_MATCH
        exact = self.vectors.vectors([row, *(place for _, place in usable)]).astype(np.float64)
        cosines = np.clip((exact[1:] * exact[0]).sum(axis=1).round(_DECIMALS), -1.0, 1.0)
        best = int(cosines.argmax())
        similarity = float(cosines[best])
        return Match(usable[best][0], similarity) if similarity > self._threshold else NO_MATCH
