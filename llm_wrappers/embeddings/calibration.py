"""How an encoder sees goals and captions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Calibration", "Separation"]

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
