"""A number in words: its unit, and words in the place of its sign."""

from __future__ import annotations

from dataclasses import dataclass

from llm_wrappers.captions.captioner import Facts

__all__ = ["Quantity"]


@dataclass(frozen=True)
class Quantity:
    """A number with the words that take the place of its sign.

    Args:
        fact: The name of the fact that holds it.
        label: What to call it in a sentence.
        unit: The unit in a sentence.
        decimals: The digits behind the point in a sentence.
        negative: The word for a negative value; empty to write the sign.
        positive: The word for a positive value.
    """

    fact: str
    label: str
    unit: str
    decimals: int
    negative: str = ""
    positive: str = ""

    def rounded(self, facts: Facts) -> float:
        """Return the value as it is spoken, never -0.0."""
        value = facts[self.fact]
        assert isinstance(value, float)
        return round(value, self.decimals) + 0.0

    def size(self, facts: Facts) -> str:
        """Return the value without its sign, such as ``"0.30 m/s"``."""
        return self._with_unit(abs(self.rounded(facts)))

    def side(self, facts: Facts) -> str:
        """Return the word for the sign; empty for zero."""
        return self._word(self.rounded(facts))

    def words(self, facts: Facts) -> str:
        """Return the value in full, such as ``"0.30 m/s left"``."""
        value = self.rounded(facts)
        if not self.positive:
            return self._with_unit(value)
        return f"{self._with_unit(abs(value))} {self._word(value)}".rstrip()

    def _word(self, value: float) -> str:
        return self.negative if value < 0 else self.positive if value > 0 else ""

    def _with_unit(self, value: float) -> str:
        number = f"{value:.{self.decimals}f}"
        unit = self.unit.replace("degrees", "degree") if number == "1" else self.unit
        return f"{number} {unit}"
