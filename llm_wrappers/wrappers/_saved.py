"""Reading saved states, which may be anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from llm_wrappers.errors import InvalidOptionError

__all__ = ["broken_states", "names_in", "restored_streams"]

# What reading a state meets that is none.
_BROKEN = (TypeError, ValueError, KeyError, AttributeError, OverflowError)


@contextmanager
def broken_states(name: str) -> Iterator[None]:
    """Say of what is no state that it is none.

    Args:
        name: Whose state is read.

    Raises:
        InvalidOptionError: If it is broken.
    """
    try:
        yield
    except InvalidOptionError:
        raise
    except _BROKEN as error:
        raise InvalidOptionError(
            f"expected the state of {name}, got one that is broken ({type(error).__name__}: "
            f"{error}); save it anew"
        ) from error


def names_in(states: Any) -> Any:
    """Return of which layers saved states are; what was given where it is none."""
    if not isinstance(states, list) or not all(isinstance(state, Mapping) for state in states):
        return states
    return [str(state.get("layer")) if "state" in state else ", ".join(state) for state in states]


def restored_streams(saved: Any, n: int) -> list[np.random.Generator]:
    """Return random generators in their saved states.

    Args:
        saved: The states.
        n: How many there must be.

    Raises:
        InvalidOptionError: If they are of another number of sub-environments.
    """
    if not isinstance(saved, list) or len(saved) != n:
        raise InvalidOptionError(
            f"expected the streams of {n} sub-environments, got "
            f"{len(saved) if isinstance(saved, list) else repr(saved)}"
        )
    streams = [np.random.default_rng() for _ in saved]
    for stream, state in zip(streams, saved, strict=True):
        stream.bit_generator.state = state
    return streams
