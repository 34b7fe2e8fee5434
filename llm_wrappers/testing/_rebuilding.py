"""Points 1, 2, 7 and 12: a wrapper can be rebuilt, copied, saved and restored."""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Callable
from copy import deepcopy
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import RecordConstructorArgs

from llm_wrappers.testing._difference import difference
from llm_wrappers.testing._subject import (
    AnyEnv,
    Run,
    Subject,
    added_layers,
    require_alike,
    rollout,
    run_difference,
)
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["check_copies", "check_recorded_arguments", "check_spec", "check_state"]

_STEPS = 20


def check_recorded_arguments(subject: Subject) -> None:
    """Every constructor argument is recorded under its own name."""
    base = subject.make_env()
    for layer in added_layers(subject.factory(base), base):
        name = type(layer).__name__
        if not isinstance(layer, RecordConstructorArgs):
            raise ConformanceError(
                Point.RECORDED_ARGUMENTS,
                f"{name} to derive from gymnasium.utils.RecordConstructorArgs",
                got=f"the bases {[kind.__name__ for kind in type(layer).__mro__[1:]]}",
                advice="without it gymnasium.make(env.spec) cannot rebuild the wrapper",
            )
        parameters = list(inspect.signature(type(layer)).parameters.values())[1:]
        expected = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        recorded = set(layer._saved_kwargs)
        has_more = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if expected - recorded or (recorded - expected and not has_more):
            raise ConformanceError(
                Point.RECORDED_ARGUMENTS,
                f"{name} to record {sorted(expected)}",
                got=str(sorted(recorded)),
                advice="pass each one to RecordConstructorArgs.__init__",
            )


def check_spec(subject: Subject) -> None:
    """`gymnasium.make(env.spec)` gives an equal environment, through JSON too where it can."""
    env = subject.make()
    if subject.make_env().spec is None:
        subject.skip(Point.SPEC, "make_env gives an environment without a spec")
        return
    if env.spec is None:
        raise ConformanceError(Point.SPEC, "a spec, as the environment has one", got="None")
    _compare(subject, env, gym.make(env.spec), "gymnasium.make(env.spec)")
    if not _fits_json(env.spec):
        subject.skip(Point.SPEC, "arguments are no JSON, so the spec was not saved as JSON")
        return
    again = EnvSpec.from_json(env.spec.to_json())
    _compare(subject, subject.make(), gym.make(again), "gymnasium.make of the spec saved as JSON")


def _compare(subject: Subject, env: AnyEnv, rebuilt: AnyEnv, what: str) -> None:
    rule = f"{what} to give an equal environment"
    for name in ("observation_space", "action_space"):
        if getattr(env, name) != getattr(rebuilt, name):
            raise ConformanceError(
                Point.SPEC, f"{rule}; its {name} should be {getattr(env, name)}", got=rebuilt
            )
    actions = subject.actions()[:_STEPS]
    runs = [rollout(each, actions, subject.seed, subject.readings) for each in (env, rebuilt)]
    found = run_difference(*runs)
    require_alike(Point.SPEC, rule, found, "is an argument recorded with another value?")


def _fits_json(spec: EnvSpec) -> bool:
    # The specs own check looks at the top level only, and lets arrays and objects through.
    arguments: list[Any] = [wrapper.kwargs for wrapper in spec.additional_wrappers]
    try:
        text = json.dumps([spec.kwargs, arguments])
    except (TypeError, ValueError):
        return False
    # A tuple becomes a list, which is expected; a key that is no string becomes one, which is not.
    return isinstance(spec.entry_point, str) and not difference(
        _without_tuples([spec.kwargs, arguments]), json.loads(text)
    )


def _without_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_tuples(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_tuples(part) for part in value]
    return value


# --- point 7 ---


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
    require_alike(
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


# --- point 12 ---


def check_state(subject: Subject) -> None:
    """`stats` is a dict of its own, and a state that is loaded gives the same stats and state."""
    layers = _new_layers(subject)
    if layers[0].has_wrapper_attr("set_progress"):
        layers[0].get_wrapper_attr("set_progress")(0.25)
    rollout(layers[0], subject.actions(), subject.seed)
    read = [_read(layer) for layer in layers]
    before = deepcopy(read)
    # A state that is no copy would move on with the wrapper.
    rollout(layers[0], subject.actions(), subject.seed)
    for copies, now, other in zip(before, read, _new_layers(subject), strict=True):
        name = type(other).__name__
        for method, copy in copies.items():
            found = difference(copy, now[method], f"{name}.{method}()")
            require_alike(Point.STATE, "a copy, which stays as it is in later steps", found)
        if "state_dict" not in copies:
            continue
        # As a checkpoint does it.
        other.load_state_dict(pickle.loads(pickle.dumps(now["state_dict"])))
        for method, copy in copies.items():
            found = difference(copy, getattr(other, method)(), f"{method}()")
            require_alike(Point.STATE, f"{name} to have the state that was loaded", found)


def _new_layers(subject: Subject) -> list[Any]:
    base = subject.make_env()
    return list(added_layers(subject.factory(base), base))


def _read(layer: Any) -> dict[str, dict[str, Any]]:
    """Return the stats and the state of one layer, where it has them."""
    name = type(layer).__name__
    # Of the layer itself: has_wrapper_attr would also find what is further inside.
    offered = {
        method: hasattr(type(layer), method)
        for method in ("stats", "state_dict", "load_state_dict")
    }
    if offered["state_dict"] != offered.pop("load_state_dict"):
        raise ConformanceError(
            Point.STATE,
            f"both state_dict and load_state_dict of {name}, or neither",
            got=f"only {'' if offered['state_dict'] else 'load_'}state_dict",
        )
    read = {method: getattr(layer, method)() for method, is_there in offered.items() if is_there}
    for method, found in read.items():
        if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
            raise ConformanceError(
                Point.STATE, f"{name}.{method}() to return a dict with names", got=found
            )
    return read
