"""Point 11: no connection is opened while an environment is stepped."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llm_wrappers.testing._rollout import AnyEnv, rollout
from llm_wrappers.testing._subject import Subject
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["check_no_network"]

_METHODS = ("connect", "connect_ex", "sendto")


def check_no_network(subject: Subject) -> None:
    """Neither reset nor step opens a connection, so no language model can be asked."""
    if _connections(subject, subject.make_env()):
        subject.skip(Point.NO_NETWORK, "the environment alone opens connections")
        return
    opened = _connections(subject, subject.make())
    if opened:
        raise ConformanceError(
            Point.NO_NETWORK,
            "no connection in reset and step",
            got=f"connections to {sorted(set(opened))}",
            advice="ask the language model beforehand and let the wrapper read its answers",
        )


def _connections(subject: Subject, env: AnyEnv) -> list[str]:
    with _refused() as opened:
        rollout(env, subject.actions(env), subject.seed, subject.readings)
    return opened


@contextmanager
def _refused() -> Iterator[list[str]]:
    """Refuse connections of this process, and note to where they would have gone.

    They are noted because a wrapper may well survive the refusal.
    """
    opened: list[str] = []

    def refuse(self: socket.socket, *args: Any) -> Any:
        opened.append(str(args[-1]))
        raise ConnectionRefusedError("the conformance kit refuses connections in reset and step")

    missing = object()
    before = {name: vars(socket.socket).get(name, missing) for name in _METHODS}
    for name in _METHODS:
        setattr(socket.socket, name, refuse)
    try:
        yield opened
    finally:
        for name, method in before.items():
            if method is missing:
                delattr(socket.socket, name)
            else:
                setattr(socket.socket, name, method)
