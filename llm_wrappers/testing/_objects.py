"""Point 4: what is returned is fresh, and what is given stays as it is."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from llm_wrappers.testing._difference import difference, shared_part
from llm_wrappers.testing._rollout import AnyEnv, Probe
from llm_wrappers.testing._subject import Subject, fail
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["check_fresh_objects"]

_POINT = Point.FRESH_OBJECTS
_KEPT = 20


def check_fresh_objects(subject: Subject) -> None:
    """Nothing returned is shared with an earlier call, and nothing given is changed."""
    probe = Probe(subject.make_env())
    spaces = deepcopy((probe.observation_space, probe.action_space))
    env = subject.factory(probe)
    watch = _Watch(env, probe, subject)
    watch.reset()
    for action in subject.actions():
        if watch.step(action):
            watch.reset()
    if (probe.observation_space, probe.action_space) != spaces:
        raise ConformanceError(
            _POINT,
            f"the spaces below to stay {spaces}",
            got=str((probe.observation_space, probe.action_space)),
            advice="set new spaces on the wrapper instead of changing those of the environment",
        )


class _Watch:
    """Calls the environment and looks at what it did to its arguments and results."""

    def __init__(self, env: AnyEnv, probe: Probe, subject: Subject) -> None:
        self._env = env
        self._probe = probe
        self._readings = [name for name in subject.readings if env.has_wrapper_attr(name)]
        # The very objects, which keeps their memory from being given to later ones.
        self._returned: list[Any] = []

    def reset(self) -> None:
        options: dict[str, Any] = {}
        observation, info = self._env.reset(options=options)
        if options:
            raise ConformanceError(_POINT, "reset to leave the options as they are", got=options)
        self._look_at(observation, info)

    def step(self, action: Any) -> bool:
        given = deepcopy(action)
        observation, _, terminated, truncated, info = self._env.step(given)
        found = difference(action, given, "action")
        if found is not None:
            raise fail(_POINT, "step to leave the action as it is", found, "change a copy of it")
        self._look_at(observation, info)
        return bool(terminated or truncated)

    def _look_at(self, observation: Any, info: dict[str, Any]) -> None:
        self._probe.look()
        if self._probe.changed is not None:
            raise fail(
                _POINT,
                "the observation and info of the environment below to stay as they were returned",
                self._probe.changed,
                "build new ones, such as {**info, ...}",
            )
        read = {f"{name}()": self._read(name) for name in self._readings}
        returned = {"observation": observation, "info": info, **read}
        # What the environment below shares between its own calls is not the wrapper's doing.
        below = [call.result for call in self._probe.calls[-_KEPT:]]
        for name, data in returned.items():
            part = shared_part(data, self._returned, allowed=below)
            if part is not None:
                raise ConformanceError(
                    _POINT,
                    "new objects from each call",
                    got=f"memory of an earlier call in {name}{part if part != 'it' else ''}",
                    advice="return a copy",
                )
        self._returned = [*self._returned[-3 * _KEPT :], *returned.values()]

    def _read(self, name: str) -> Any:
        method = self._env.get_wrapper_attr(name)
        first, second = method(), method()
        found = difference(first, second, f"{name}()")
        if found is not None:
            raise fail(
                _POINT,
                f"{name}() to return the same each time it is called in one step",
                found,
                "draw in reset and step, and return a copy of what was drawn",
            )
        if shared_part(first, [second]) is not None:
            raise ConformanceError(
                _POINT,
                f"{name}() to return a new object each time",
                got="the same one twice",
                advice="return a copy",
            )
        return first
