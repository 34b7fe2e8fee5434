"""The wrapper under test, and running it while what it returned is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import gymnasium as gym

from llm_wrappers.testing._difference import Difference, difference
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = [
    "OPTION", "AnyEnv", "Factory", "Probe", "Run", "Subject", "added_layers",
    "require_alike", "result_difference", "rollout", "run_check", "run_difference",
]  # fmt: skip

AnyEnv: TypeAlias = "gym.Env[Any, Any]"
OPTION = "llm_wrappers.testing"
"""A reset option that only a `Probe` understands."""


@dataclass
class Call:
    """One reset or step: what was given, what was returned itself, and a copy of that from then."""

    given: dict[str, Any]
    result: tuple[Any, ...]
    copy: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.given = deepcopy(self.given)
        self.copy = deepcopy(self.result)

    @property
    def is_reset(self) -> bool:
        """Whether it was a reset."""
        return "seed" in self.given

    @property
    def info(self) -> dict[str, Any]:
        """The info as it was returned."""
        info: dict[str, Any] = self.copy[-1]
        return info

    @property
    def reward(self) -> float:
        """The reward, 0 for a reset."""
        return 0.0 if self.is_reset else float(self.copy[1])


class Probe(gym.Wrapper[Any, Any, Any, Any]):
    """Sits under the wrapper that is checked and notes every call that reaches the environment."""

    def __init__(self, env: AnyEnv) -> None:
        super().__init__(env)
        self.calls: list[Call] = []
        self.changed: Difference | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment, without the option that is meant for this probe."""
        self.look()
        known = None if options is None else {k: v for k, v in options.items() if k != OPTION}
        result = self.env.reset(seed=seed, options=known or None)
        self.calls.append(Call({"seed": seed, "options": options}, result))
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment."""
        self.look()
        # Kept from before the step, because an environment may change the action it is given.
        call = {"action": deepcopy(action)}
        result = self.env.step(action)
        self.calls.append(Call(call, result))
        return result

    def look(self) -> None:
        """Note whether what was returned last has been changed since."""
        if self.calls and self.changed is None:
            call = self.calls[-1]
            self.changed = result_difference(call.copy, call.result)


class Run:
    """A run that can be stopped and continued: episodes one after the other, noted call by call."""

    def __init__(self, env: AnyEnv, readings: Sequence[str]) -> None:
        self.env = env
        self.over = False
        self._readings = [name for name in readings if env.has_wrapper_attr(name)]

    def reset(self, seed: int | None) -> dict[str, Any]:
        """Reset and return what can be seen."""
        self.over = False
        return self._seen(self.env.reset(seed=seed))

    def steps(self, actions: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """Yield what can be seen after each step, and after each reset where an episode ended."""
        for action in actions:
            if self.over:
                yield self.reset(None)
            result = self.env.step(deepcopy(action))
            self.over = bool(result[2] or result[3])
            yield self._seen(result)

    def _seen(self, result: tuple[Any, ...]) -> dict[str, Any]:
        read = {f"{name}()": self.env.get_wrapper_attr(name)() for name in self._readings}
        # Copies: what is compared later must be what was returned now.
        return deepcopy({**_named(result), **read})


def rollout(
    env: AnyEnv, actions: Sequence[Any], seed: int, readings: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return what can be seen after a seeded reset and these steps."""
    run = Run(env, readings)
    return [run.reset(seed), *run.steps(actions)]


def run_difference(
    expected: Sequence[dict[str, Any]], got: Sequence[dict[str, Any]]
) -> Difference | None:
    """Return the first difference of two runs, or None."""
    for number, (one, other) in enumerate(zip(expected, got, strict=False)):
        found = difference(one, other)
        if found is not None:
            return found._replace(where=f"{_plain(found.where)} after {number} calls")
    if len(expected) != len(got):
        return Difference("the number of calls", str(len(expected)), str(len(got)))
    return None


def result_difference(expected: tuple[Any, ...], got: tuple[Any, ...]) -> Difference | None:
    """Return the first difference of what two calls of reset or step returned, or None."""
    found = difference(_named(expected), _named(got))
    return None if found is None else found._replace(where=_plain(found.where))


def _named(result: tuple[Any, ...]) -> dict[str, Any]:
    middle = ("reward", "terminated", "truncated") if len(result) > 2 else ()
    return dict(zip(("observation", *middle, "info"), result, strict=True))


def _plain(where: str) -> str:
    """Return ``info['goal']`` for ``['info']['goal']``."""
    if where.startswith("['"):
        name, _, rest = where[2:].partition("']")
        return name + rest
    return where


# --- the subject ---

Factory: TypeAlias = Callable[[AnyEnv], AnyEnv]


@dataclass
class Subject:
    """What `check_wrapper` was given, and what could not be checked."""

    factory: Factory
    make_env: Callable[[], AnyEnv]
    neutral: Factory | None
    steps: int
    seed: int
    readings: Sequence[str]
    subprocesses: bool
    skipped: dict[Point, str] = field(default_factory=dict)

    def make(self) -> AnyEnv:
        """Return a wrapped environment."""
        return self.factory(self.make_env())

    def probed(self, factory: Factory | None = None) -> tuple[AnyEnv, Probe]:
        """Return a wrapped environment and the probe below the wrapper."""
        probe = Probe(self.make_env())
        return (factory or self.factory)(probe), probe

    def actions(self, env: AnyEnv | None = None) -> list[Any]:
        """Return the actions of a run, the same each time; for `env` in place of the wrapper."""
        # A copy, because drawing from the space itself would disturb whoever seeded it.
        space: gym.Space[Any] = deepcopy((env or self.make()).action_space)
        space.seed(self.seed)
        return [space.sample() for _ in range(self.steps)]

    def skip(self, point: Point, reason: str) -> None:
        """Note that a point, or a part of it, could not be checked."""
        known = self.skipped.get(point)
        self.skipped[point] = f"{known}; {reason}" if known else reason


def added_layers(env: Any, base: Any) -> Iterator[Any]:
    """Yield the wrappers that were put around `base`, from outside in; vector wrappers likewise."""
    while env is not base:
        if not isinstance(env, gym.Wrapper | gym.vector.VectorWrapper):
            raise TypeError(
                f"expected the factory to wrap the environment it is given, got {env} at the bottom"
            )
        yield env
        env = env.env


def require_alike(point: Point, rule: str, found: Difference | None, advice: str = "") -> None:
    """Raise where two things differ that the contract asks to be alike."""
    if found is not None:
        raise ConformanceError(
            point, f"{rule}; {found.where} should be {found.expected}", got=found.got, advice=advice
        )


def run_check(point: Point, check: Callable[[Subject], None], subject: Subject) -> None:
    """Run the check of a point; what it raises is an error of that point."""
    try:
        check(subject)
    except ConformanceError:
        raise
    except Exception as error:
        raise ConformanceError(
            point, "no exception", got=f"{type(error).__name__}: {error}"
        ) from error
