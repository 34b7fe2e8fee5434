"""What must not be shared with a forked child: locks and connections."""

from __future__ import annotations

import os
import threading
import weakref
from functools import partial
from types import TracebackType
from typing import Protocol

__all__ = ["ForkSafeLock", "Forked", "call_around_forks"]


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


class ForkSafeLock:
    """A lock for the threads of one process.

    If a thread holds it while another one forks, nobody in the child would ever let go of it; so
    the child gets a new one.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        call_around_forks(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        """Do not wait: whoever holds it may hold it for long."""

    def after_fork_in_parent(self) -> None:
        """Nothing has changed."""

    def after_fork_in_child(self) -> None:
        """Take a new lock, in a process that has only one thread."""
        self._lock = threading.RLock()
