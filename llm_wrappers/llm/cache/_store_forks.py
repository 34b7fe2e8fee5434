"""Telling an object that its process forks."""

from __future__ import annotations

import os
import weakref
from functools import partial
from typing import Protocol

__all__ = ["Forked", "call_around_forks"]


class Forked(Protocol):
    """Something with connections or locks that must not be shared with a forked child."""

    def before_fork(self) -> None:
        """Prepare for it, in the process that forks."""

    def after_fork_in_parent(self) -> None:
        """Go on, in the process that forked."""

    def after_fork_in_child(self) -> None:
        """Begin, in the new process."""


def call_around_forks(target: Forked) -> None:
    """Call the three methods of `target` around each fork of this process, while it lives."""
    # Where a system has no fork, there is nothing to follow.
    if not hasattr(os, "register_at_fork"):
        return
    alive = weakref.ref(target)

    def call(name: str) -> None:
        found = alive()
        if found is not None:
            getattr(found, name)()

    os.register_at_fork(
        before=partial(call, "before_fork"),
        after_in_parent=partial(call, "after_fork_in_parent"),
        after_in_child=partial(call, "after_fork_in_child"),
    )
