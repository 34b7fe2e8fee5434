"""When a state may be asked about: policies of a live source, as pure functions.

A policy is given as a name (``"every_step"``, ``"on_change"``, ``"every:5"``), as one of the
classes below, or as any callable of a state's text, the text before it in the same episode (None
at its first step) and the number of the step in the episode, from 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from llm_wrappers import checks
from llm_wrappers.registry import Registry, whole_in

__all__ = ["Every", "EveryStep", "OnChange", "Timing", "every", "resolve_timing"]

Timing: TypeAlias = Callable[[str, "str | None", int], bool]


@dataclass(frozen=True)
class EveryStep:
    """Any step may ask.

    >>> str(EveryStep())
    'every_step'
    """

    def __call__(self, text: str, previous: str | None, step: int) -> bool:
        """Return True."""
        return True

    def __str__(self) -> str:
        return "every_step"


@dataclass(frozen=True)
class OnChange:
    """A step may ask if its text is not the text of the step before it in the episode.

    >>> OnChange()("You see a tree.", "You see a tree.", 7)
    False
    """

    def __call__(self, text: str, previous: str | None, step: int) -> bool:
        """Return whether the text is new."""
        return text != previous

    def __str__(self) -> str:
        return "on_change"


@dataclass(frozen=True)
class Every:
    """Every k-th step of an episode may ask, the first one included.

    Args:
        k: How many steps apart.

    Raises:
        InvalidOptionError: If it is no whole number of 1 or more.

    >>> [step for step in range(7) if Every(3)("You see a tree.", None, step)]
    [0, 3, 6]
    """

    k: int

    def __post_init__(self) -> None:
        checks.whole("k", self.k, least=1)

    def __call__(self, text: str, previous: str | None, step: int) -> bool:
        """Return whether the step is a multiple of k."""
        return step % self.k == 0

    def __str__(self) -> str:
        return f"every:{self.k}"


def every(k: int) -> Every:
    """Return the policy that lets every k-th step ask; see `Every`.

    >>> str(every(5))
    'every:5'
    """
    return Every(k)


def resolve_timing(timing: str | Timing) -> Timing:
    """Return the policy that a name or a callable stands for; ``str(policy)`` is its name.

    Args:
        timing: ``"every_step"``, ``"on_change"``, ``"every:K"``, or a policy itself.

    Raises:
        UnknownNameError: If no policy has the name.
        InvalidOptionError: If it is neither a name nor a policy, or K is no whole number >= 1.

    >>> resolve_timing("every:5")
    Every(k=5)
    """
    return _TIMINGS.resolve(timing)


_TIMINGS: Registry[Timing] = Registry(
    "timing",
    Callable,
    "a function of (text, previous text, step of the episode), or a name such as 'on_change'",
    names={
        "every_step": lambda _: EveryStep(),
        "on_change": lambda _: OnChange(),
        "every:K": lambda rest: Every(whole_in("every:K", rest)),
    },
)
