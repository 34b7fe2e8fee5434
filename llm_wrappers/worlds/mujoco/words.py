"""Phrases that the captions of MuJoCo robots share."""

from __future__ import annotations

from llm_wrappers.captions.captioner import Facts
from llm_wrappers.worlds.classic.physical_system import Quantity
from llm_wrappers.worlds.mujoco.limits import Limits

__all__ = ["SOON_S", "change_words", "height_words", "number", "observed_size", "threat_words"]

SOON_S = 0.2  # our choice: a limit that is reached sooner, at the present velocity, is a threat


def number(facts: Facts, name: str) -> float:
    """Return a fact that is a number."""
    value = facts[name]
    assert isinstance(value, float)
    return value


def height_words(height: Quantity, limits: Limits, facts: Facts) -> str:
    """Return the height, and how far it is from the nearer limit."""
    value = number(facts, height.fact)
    margin = limits.margin(value)
    if margin is None:
        return f"{height.size(facts)} high"
    near_low = limits.is_near_low(value)
    direction = "above" if near_low == (margin >= 0) else "below"
    side = "lower" if near_low else "upper"
    return f"{height.words(facts)} high, {abs(margin):.2f} m {direction} the {side} limit"


def threat_words(facts: Facts, *, safe: str) -> str:
    """Return whether the robot is about to leave its limits.

    Args:
        facts: Have `within_limits`, `threat` and `seconds_to_limit`.
        safe: What to say where it is not.
    """
    if not facts["within_limits"]:
        return "It is outside of its limits."
    if facts["threat"] == "none":
        return safe
    seconds = number(facts, "seconds_to_limit")
    return f"It is {facts['threat']}: at this rate the limit is {seconds:.2f} s away."


def change_words(
    quantity: Quantity, before: Facts, after: Facts, verbs: tuple[str, str], growth: float
) -> str:
    """Return how a quantity changed, empty where it is spoken of as before.

    Args:
        quantity: What to speak of.
        before: The facts before the step.
        after: The facts after it.
        verbs: What to call a loss and a gain.
        growth: Above 0 for a gain.
    """
    old, new = quantity.words(before), quantity.words(after)
    return "" if old == new else f"{verbs[growth > 0]} ({quantity.label} from {old} to {new})"


def observed_size(quantity: Quantity, facts: Facts, clip: float) -> str:
    """Return the size of a quantity, and say so where it may be larger than is observed.

    Args:
        quantity: What to speak of.
        facts: The facts of a state.
        clip: The largest size that is observed.
    """
    more = abs(number(facts, quantity.fact)) >= clip
    return quantity.size(facts) + (" or more" if more else "")
