"""What must not be shared with a forked child: locks and connections."""

from __future__ import annotations

import os
import threading
import weakref
from functools import partial
from types import TracebackType

__all__ = ["ForkSafeLock", "call_around_forks"]


def call_around_forks(target: object) -> None:
    """Call what `target` has of `before_fork`, `after_fork_in_parent` and `after_fork_in_child`.

    Around each fork of this process, while the target lives.
    """
    # Where a system has no fork, there is nothing to follow.
    if not hasattr(os, "register_at_fork"):
        return
    alive = weakref.ref(target)

    def call(name: str) -> None:
        method = getattr(alive(), name, None)
        if method is not None:
            method()

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

    def after_fork_in_child(self) -> None:
        """Take a new lock, in a process that has only one thread."""
        self._lock = threading.RLock()
