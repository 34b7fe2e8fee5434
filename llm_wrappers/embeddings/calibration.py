"""Choosing the cosine above which two texts count as the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.embeddings.encoder import Encoder, checked_texts
from llm_wrappers.embeddings.resolve import resolve_encoder
from llm_wrappers.errors import InvalidOptionError

__all__ = ["Calibration", "Separation", "calibrate"]

_BAR = 40
_MOST_LINES = 25


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How well a threshold parts pairs that mean the same from the others.

    Args:
        pairs: All pairs of a goal and a caption.
        matches: Those that mean the same.
        false_pay: Pairs that do not and are above the threshold.
        missed: Pairs that do and are not above it.
    """

    pairs: int
    matches: int
    false_pay: int
    missed: int

    @property
    def accuracy(self) -> float:
        """The share of pairs on the right side of the threshold."""
        return 1.0 - (self.false_pay + self.missed) / self.pairs


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The cosines between goals and captions, and a threshold for them; print it to read it.

    Args:
        encoder: The name of the encoder.
        goals: How many distinct goals there are.
        captions: How many distinct captions there are.
        identical_pairs: How many goals are a caption word for word.
        lowest_identical: The lowest cosine of these, 1 if there are none.
        quantiles: Quantile -> cosine, of all pairs that are not identical.
        edges: The edges of the histogram's bins.
        histogram: How many of these pairs are in each bin.
        best: For each caption (caption, its closest goal, their cosine).
        closest_goals: The two different goals that are closest, and their cosine; -1 for a goal
            alone.
        threshold: What to pay above.
        separation: How well the threshold does on known matches, None without these.
    """

    encoder: str
    goals: int
    captions: int
    identical_pairs: int
    lowest_identical: float
    quantiles: Mapping[float, float]
    edges: tuple[float, ...]
    histogram: tuple[int, ...]
    best: tuple[tuple[str, str, float], ...]
    closest_goals: tuple[str, str, float]
    threshold: float
    separation: Separation | None = None

    def __str__(self) -> str:
        first, second, closest = self.closest_goals
        lines = [
            f"encoder: {self.encoder}",
            f"{self.goals} goals, {self.captions} captions, {self.identical_pairs} identical pairs "
            f"(lowest cosine {self.lowest_identical:.3f})",
            f"closest goals: {first!r} and {second!r}, {closest:.3f}",
            "",
            "cosines of the pairs that are not identical",
            *self._histogram_lines(),
            "quantiles: "
            + ", ".join(f"{q:.0%} {value:.3f}" for q, value in self.quantiles.items()),
            "",
            "closest goal of each caption",
            *self._best_lines(),
            "",
            self._advice(),
        ]
        return "\n".join(lines)

    def _histogram_lines(self) -> list[str]:
        filled = [index for index, count in enumerate(self.histogram) if count]
        if not filled:
            return ["  none"]
        tallest = max(self.histogram)
        return [
            f"  {self.edges[index]:5.1f} {'#' * -(-_BAR * self.histogram[index] // tallest)} "
            f"{self.histogram[index]}"
            for index in range(filled[0], filled[-1] + 1)
        ]

    def _best_lines(self) -> list[str]:
        ordered = sorted(self.best, key=lambda row: -row[2])
        lines = [f"  {cosine:.3f}  {caption}  ~  {goal}" for caption, goal, cosine in ordered]
        left_out = len(lines) - _MOST_LINES
        return lines if left_out <= 0 else [*lines[:_MOST_LINES], f"  and {left_out} more"]

    def _advice(self) -> str:
        if self.separation is None:
            return (
                f"threshold {self.threshold:.3f}: below identical text "
                f"({self.lowest_identical:.3f}) and above the closest goals "
                f"({self.closest_goals[2]:.3f}); below that, goals are taken for one another"
            )
        found = self.separation
        return (
            f"threshold {self.threshold:.3f}: {found.accuracy:.1%} of {found.pairs} pairs right, "
            f"{found.false_pay} paid that are no match, {found.missed} of {found.matches} matches "
            "missed"
        )


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
