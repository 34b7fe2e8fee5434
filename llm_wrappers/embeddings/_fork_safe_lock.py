"""A lock that a forked child finds free."""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType

__all__ = ["ForkSafeLock"]


class ForkSafeLock:
    """A lock for the threads of one process.

    If a thread holds it while another one forks, nobody in the child would ever let go of it; so
    the child gets a new one.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            reference = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _renew(reference()))

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Take a new lock, in a process that has only one thread."""
        self._lock = threading.RLock()


def _renew(lock: ForkSafeLock | None) -> None:
    if lock is not None:
        lock.renew()
