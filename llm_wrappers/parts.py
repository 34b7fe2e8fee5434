"""What counts, and outlives an episode: the parts that the state of a wrapper is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError

__all__ = ["Part", "Tally", "require_keys"]


class Part(Protocol):
    """Something that counts and can be saved."""

    def stats(self) -> Mapping[str, Any]:
        """Return the counters."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode, as JSON can hold it."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        ...


class Tally(dict[str, int]):
    """Counters by name, as a part.

    >>> counts = Tally("steps", "hits")
    >>> counts["hits"] += 1
    >>> counts.state_dict()
    {'steps': 0, 'hits': 1}
    """

    def __init__(self, *names: str) -> None:
        super().__init__(dict.fromkeys(names, 0))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (), None, None, iter(self.items())

    def stats(self) -> dict[str, int]:
        """Return a copy."""
        return dict(self)

    def state_dict(self) -> dict[str, int]:
        """Return a copy."""
        return dict(self)

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it has other names, or something that is no count.
        """
        require_keys(state, self)
        self.update({name: checks.whole(name, state[name], least=0) for name in self})


def require_keys(state: Any, wanted: Any) -> None:
    """Compare the names in a saved state with those that are wanted.

    Raises:
        InvalidOptionError: If they differ.
    """
    known = sorted(map(str, state)) if isinstance(state, Mapping) else state
    if known != sorted(wanted):
        raise InvalidOptionError(
            f"expected the state of {sorted(wanted)}, got {known}; this is the state of another "
            "wrapper, or of one with other options"
        )
