"""Points 5 to 7: runs that must not differ."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import deepcopy
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from llm_wrappers.testing._rollout import (
    OPTION,
    AnyEnv,
    Probe,
    Run,
    result_difference,
    rollout,
    run_difference,
)
from llm_wrappers.testing._subject import Subject, added_layers, fail
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["check_copies", "check_reset", "check_seeding"]

_MOST_STEPS_INTO_AN_EPISODE = 7


def check_seeding(subject: Subject) -> None:
    """The same seed gives the same run, and the environment below the one it has alone."""
    env, probe = subject.probed()
    actions = subject.actions()
    runs = [
        rollout(each, actions, subject.seed, subject.readings) for each in (env, subject.make())
    ]
    found = run_difference(*runs)
    if found is not None:
        raise fail(
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
        if found is not None:
            raise fail(
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
        if found is not None:
            raise fail(
                Point.RESET,
                f"a reset after {steps} steps of another episode to give the same run as a new "
                "environment with this seed",
                found,
                "clear in reset what belongs to the episode; keep lifetime counters out of info",
            )


def check_copies(subject: Subject) -> None:
    """A copy goes on as the original does."""
    ways: dict[str, Callable[[AnyEnv], AnyEnv]] = {"copy.deepcopy": deepcopy}
    if not _can_be_pickled(subject):
        subject.skip(Point.COPIES, "the environment or an argument of the wrapper is no pickle")
    else:
        ways["pickle"] = lambda env: pickle.loads(pickle.dumps(env))
    if find_spec("cloudpickle") is None:
        subject.skip(Point.COPIES, "cloudpickle is not installed")
    else:
        # By its name, because it has no type annotations.
        cloudpickle: Any = import_module("cloudpickle")
        ways["cloudpickle"] = lambda env: pickle.loads(cloudpickle.dumps(env))
    for name, way in ways.items():
        _check_copy(subject, name, way)


def _check_copy(subject: Subject, name: str, way: Callable[[AnyEnv], AnyEnv]) -> None:
    actions = subject.actions()
    original = Run(subject.make(), subject.readings)
    original.reset(subject.seed)
    # In mid-episode, where there is most to lose.
    before = 0
    while before < 2 or (original.over and before < len(actions) // 2):
        list(original.steps([actions[before]]))
        before += 1
    try:
        copy = Run(way(original.env), subject.readings)
    except Exception as error:
        raise ConformanceError(
            Point.COPIES, f"{name} to copy the wrapper", got=f"{type(error).__name__}: {error}"
        ) from error
    copy.over = original.over
    rest = actions[before:]
    found = run_difference(list(original.steps(rest)), list(copy.steps(rest)))
    if found is not None:
        raise fail(
            Point.COPIES,
            f"a copy by {name} to go on as the original does",
            found,
            "is something shared between copies, or lost in __getstate__?",
        )


def _can_be_pickled(subject: Subject) -> bool:
    """Return whether pickle could succeed: lambdas among the arguments are not the wrapper's."""
    base = subject.make_env()
    layers = added_layers(subject.factory(base), base)
    arguments = [getattr(layer, "_saved_kwargs", None) for layer in layers]
    try:
        pickle.dumps([base, arguments])
    except Exception:
        return False
    return True
