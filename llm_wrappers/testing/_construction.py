"""Points 1 and 2: a wrapper can be rebuilt from what it recorded."""

from __future__ import annotations

import inspect
import json
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import RecordConstructorArgs

from llm_wrappers.testing._difference import difference
from llm_wrappers.testing._rollout import AnyEnv, rollout, run_difference
from llm_wrappers.testing._subject import Subject, added_layers, fail
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["check_recorded_arguments", "check_spec"]

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
    if found is not None:
        raise fail(Point.SPEC, rule, found, "is an argument recorded with another value?")


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
