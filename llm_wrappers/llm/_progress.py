"""A progress bar, where somebody can see it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from llm_wrappers.errors import require

__all__ = ["progress"]

_LONG_ENOUGH_FOR_A_BAR = 20


def progress(total: int, wanted: bool | None) -> Any:
    """Return a context manager with `update()`: a bar of tqdm, or one that shows nothing.

    Args:
        total: How many steps there are.
        wanted: Whether to show one; None shows it on a terminal, if there are many steps and tqdm
            is installed.
    """
    if wanted is None:
        on_terminal = sys.stderr is not None and sys.stderr.isatty()
        wanted = total >= _LONG_ENOUGH_FOR_A_BAR and on_terminal and find_spec("tqdm") is not None
    if not wanted:
        return _NoBar()
    return require("tqdm", extra="llm").tqdm(total=total, desc="asking", unit="prompt")


class _NoBar:
    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def update(self) -> None:
        return None
