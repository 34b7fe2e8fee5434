"""Comparing names as a model or an environment may write them."""

from __future__ import annotations

__all__ = ["plain"]


def plain(name: str) -> str:
    """Return a name without regard to case, underscores, hyphens and repeated spaces.

    >>> plain("Collect_Wood")
    'collect wood'
    """
    return " ".join(name.replace("_", " ").replace("-", " ").lower().split())
