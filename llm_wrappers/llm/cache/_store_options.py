"""What all stores check in the same way."""

from __future__ import annotations

from llm_wrappers.errors import InvalidOptionError

__all__ = ["checked_max_entries"]


def checked_max_entries(max_entries: int | None) -> int | None:
    """Return the number.

    Raises:
        InvalidOptionError: If it is no whole number above zero.

    >>> checked_max_entries(10)
    10
    """
    if max_entries is None:
        return None
    if isinstance(max_entries, bool) or not isinstance(max_entries, int) or max_entries < 1:
        raise InvalidOptionError(
            f"max_entries must be a whole number >= 1, or None to keep all, got {max_entries!r}"
        )
    return max_entries
