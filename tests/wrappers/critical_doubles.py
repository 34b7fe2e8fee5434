"""Tables of critical states that the tests of wrappers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llm_wrappers import wrappers
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.wrappers import vector

CORNERS = ([-0.5, -0.5, -0.5], [0.5, 0.5, -0.5], [-0.5, 0.5, 0.5], [0.5, -0.5, 0.5])
"""Half of the eight cells of width 1 that a Box of three numbers in [-1, 1] has."""


def table(
    states: Sequence[Any] = CORNERS,
    actions: Sequence[Any] = (0, 1, 2, 1),
    *,
    key: str = "bins:1.0",
    part: str | None = None,
) -> CriticalStates:
    """Return a table whose rewards differ in size and sign."""
    rewards = [1.0, -0.5, 0.25, -1.0]
    entries = [
        CriticalState(state, action, reward=rewards[number % 4])
        for number, (state, action) in enumerate(zip(states, actions, strict=False))
    ]
    return CriticalStates(entries, key=key, part=part)


def overriding(*, vectorised: bool = False, **options: Any) -> Callable[[Any], Any]:
    """Return what advises in critical states around an environment."""
    kind: Any = (vector if vectorised else wrappers).CriticalStateOverrideWrapper
    options = {"critical_states": table(), "probability": 1.0, **options}
    return partial(kind, **options)
