"""Points 5, 6 and 11: runs that must not differ, and reach for nothing outside."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llm_wrappers.testing._subject import (
    OPTION,
    AnyEnv,
    Probe,
    Run,
    Subject,
    require_alike,
    result_difference,
    rollout,
    run_difference,
)
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["check_no_network", "check_reset", "check_seeding"]

_MOST_STEPS_INTO_AN_EPISODE = 7


def check_seeding(subject: Subject) -> None:
    """The same seed gives the same run, and the environment below the one it has alone."""
    env, probe = subject.probed()
    actions = subject.actions()
    runs = [
        rollout(each, actions, subject.seed, subject.readings) for each in (env, subject.make())
    ]
    found = run_difference(*runs)
    require_alike(
        Point.SEEDING,
        "two runs with the same seed and actions to be the same",
        found,
        "draw from a generator seeded in reset, and keep timings and counters out of info",
    )
    _check_stream(subject, env, probe)
    _check_forwarding(subject)


def _check_stream(subject: Subject, env: AnyEnv, probe: Probe) -> None:
    alone = subject.make_env()
    advice = "draw from a generator of the wrapper's own, not from self.np_random"
    for number, call in enumerate(probe.calls):
        result = alone.reset(**call.given) if call.is_reset else alone.step(call.given["action"])
        found = result_difference(result, call.copy)
        require_alike(
            Point.SEEDING,
            f"the environment below to return in call {number} what it returns alone",
            found,
            advice,
        )
    states = [each.unwrapped.np_random.bit_generator.state for each in (alone, env)]
    if states[0] != states[1]:
        raise ConformanceError(
            Point.SEEDING,
            "the random stream of the environment to be where it is without the wrapper",
            got="one from which the wrapper has drawn",
            advice=advice,
        )


def _check_forwarding(subject: Subject) -> None:
    env, probe = subject.probed()
    env.reset(seed=subject.seed, options={OPTION: True})
    given = next((call.given for call in probe.calls if call.is_reset), {})
    options = given.get("options") or {}
    if given.get("seed") != subject.seed or OPTION not in options:
        raise ConformanceError(
            Point.SEEDING,
            f"reset to hand seed={subject.seed} and the options {[OPTION]} on",
            got=f"seed={given.get('seed')} and the options {list(options)}",
        )


def check_reset(subject: Subject) -> None:
    """A reset in the middle of an episode leaves nothing of it behind."""
    actions = subject.actions()
    fresh = rollout(subject.make(), actions, subject.seed, subject.readings)
    for steps in range(1, _MOST_STEPS_INTO_AN_EPISODE + 1):
        env = subject.make()
        run = Run(env, subject.readings)
        run.reset(subject.seed + 1)
        if any(run.over for _ in run.steps(actions[-steps:])):
            break
        found = run_difference(fresh, rollout(env, actions, subject.seed, subject.readings))
        require_alike(
            Point.RESET,
            f"a reset after {steps} steps of another episode to give the same run as a new "
            "environment with this seed",
            found,
            "clear in reset what belongs to the episode; keep lifetime counters out of info",
        )


# --- point 11 ---

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
