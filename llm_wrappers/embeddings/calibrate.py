"""Choosing the cosine above which two texts count as the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.embeddings._checks import checked_texts
from llm_wrappers.embeddings.calibration import Calibration, Separation
from llm_wrappers.embeddings.encoder import Encoder
from llm_wrappers.embeddings.resolve import resolve_encoder
from llm_wrappers.errors import InvalidOptionError

__all__ = ["calibrate"]

_QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
_EDGES = tuple(tenth / 10 for tenth in range(-10, 11))
# How far below identical text the threshold lies without matches; our choice, and ELLM's 0.99.
_BELOW_IDENTICAL = 0.01


def calibrate(
    encoder: str | Encoder,
    goals: Sequence[str],
    captions: Sequence[str],
    *,
    matches: Sequence[tuple[str, str]] | None = None,
) -> Calibration:
    """Return how an encoder sees goals and captions, and a threshold that fits both.

    ELLM (arXiv 2302.06692) pays for a caption whose cosine with a goal is above a threshold, 0.99
    in Crafter. What a cosine of 0.6 means depends on the encoder, so a threshold that fits one
    does not fit another.

    With `matches` the threshold is the one with the fewest mistakes, where paying for a pair that
    is no match and missing one that is are equally bad; it lies in the middle of the gap between
    the two cosines that it parts. Without, it lies 0.01 below identical text (our choice), or, if
    two different goals are closer than that, half-way between them and identical text.

    Args:
        encoder: An encoder or its name.
        goals: The goals that can be suggested.
        captions: What the environment says of transitions; may repeat.
        matches: Pairs (goal, caption) that mean the same. Pairs of identical texts always do; all
            others are taken to mean different things.

    Raises:
        InvalidOptionError: If there is no goal or caption, or a match is of other texts.

    >>> result = calibrate("hashing", ["collect wood", "eat cow"], ["collect wood", "move left"])
    >>> round(result.threshold, 2), result.identical_pairs
    (0.99, 1)
    """
    goals, captions = _distinct("goals", goals), _distinct("captions", captions)
    resolved = resolve_encoder(encoder)
    vectors = resolved.encode([*goals, *captions]).astype(np.float64)
    of_goals, of_captions = vectors[: len(goals)], vectors[len(goals) :]
    cosines = np.clip(of_goals @ of_captions.T, -1.0, 1.0)
    same_text = np.array([[goal == caption for caption in captions] for goal in goals])
    identical = float(cosines[same_text].min()) if same_text.any() else 1.0
    closest = _closest_goals(goals, of_goals)
    separation = (
        None if matches is None else _separated(cosines, same_text, goals, captions, matches)
    )
    rest = cosines[~same_text]
    best = cosines.argmax(axis=0)
    return Calibration(
        encoder=encoder if isinstance(encoder, str) else str(getattr(encoder, "name", encoder)),
        goals=len(goals),
        captions=len(captions),
        identical_pairs=int(same_text.sum()),
        lowest_identical=identical,
        quantiles={q: float(np.quantile(rest, q)) for q in _QUANTILES} if rest.size else {},
        edges=_EDGES,
        histogram=tuple(np.histogram(rest, _EDGES)[0].tolist()),
        best=tuple(
            (caption, goals[row], float(cosines[row, column]))
            for column, (caption, row) in enumerate(zip(captions, best, strict=True))
        ),
        closest_goals=closest,
        threshold=_conservative(identical, closest[2]) if separation is None else separation[0],
        separation=None if separation is None else separation[1],
    )


def _distinct(option: str, texts: Sequence[str]) -> list[str]:
    distinct = list(dict.fromkeys(checked_texts(texts)))
    if not distinct:
        raise InvalidOptionError(f"{option} must hold at least one text, got none")
    return distinct


def _closest_goals(goals: list[str], vectors: NDArray[np.float64]) -> tuple[str, str, float]:
    if len(goals) == 1:
        return goals[0], goals[0], -1.0
    between = np.clip(vectors @ vectors.T, -1.0, 1.0)
    np.fill_diagonal(between, -2.0)
    first, second = np.unravel_index(int(between.argmax()), between.shape)
    return goals[first], goals[second], float(between[first, second])


def _conservative(identical: float, closest: float) -> float:
    just_below = identical - _BELOW_IDENTICAL
    return just_below if just_below > closest else (identical + closest) / 2


def _separated(
    cosines: NDArray[np.float64],
    same_text: NDArray[np.bool_],
    goals: list[str],
    captions: list[str],
    matches: Sequence[tuple[str, str]],
) -> tuple[float, Separation]:
    same = same_text.copy()
    for match in matches:
        if isinstance(match, str) or len(match) != 2:
            raise InvalidOptionError(f"matches must be pairs (goal, caption), got {match!r}")
        goal, caption = match
        if goal not in goals or caption not in captions:
            raise InvalidOptionError(
                f"matches must be pairs of a goal and a caption given, got {(goal, caption)!r}"
            )
        same[goals.index(goal), captions.index(caption)] = True
    order = np.argsort(cosines, axis=None)
    values, labels = cosines.ravel()[order], same.ravel()[order]
    # Cut k pays for all but the k lowest; equal values cannot be parted, and no threshold pays for
    # a cosine of -1.
    missed = np.concatenate([[0], np.cumsum(labels)])
    false_pay = (~labels).sum() - np.concatenate([[0], np.cumsum(~labels)])
    bounds = np.concatenate([[-1.0], values, [1.0]])
    possible = np.concatenate([values[:1] > -1.0, values[1:] > values[:-1], [True]])
    mistakes = np.where(possible, missed + false_pay, len(values) + 1)
    gaps = bounds[1:] - bounds[:-1]
    # Of equally good cuts the one in the widest gap.
    cut = int(np.lexsort((-gaps, mistakes))[0])
    threshold = float((bounds[cut] + bounds[cut + 1]) / 2)
    return threshold, Separation(
        pairs=len(values),
        matches=int(labels.sum()),
        false_pay=int(false_pay[cut]),
        missed=int(missed[cut]),
    )
