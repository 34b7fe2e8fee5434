"""How long a text is, without the tokenizer of a model."""

from __future__ import annotations

__all__ = ["about_tokens"]

_CHARACTERS_PER_TOKEN = 4


def about_tokens(text: str) -> int:
    """Return a quarter of the characters of a text, rounded up.

    The same wherever it runs: where episodes are cut decides what is asked, and so which recorded
    answers fit. A tokenizer that is installed here and not there would change that.

    >>> about_tokens("Which steps mattered?")
    6
    """
    return -(-len(text) // _CHARACTERS_PER_TOKEN)
