"""Texts in the form in which they are asked about."""

from __future__ import annotations

__all__ = ["one_line"]


def one_line(text: str) -> str:
    r"""Return a text without line breaks and repeated blanks, so that equal states look equal.

    >>> one_line("  You see a tree.\n You  carry nothing. ")
    'You see a tree. You carry nothing.'
    """
    return " ".join(text.split())
