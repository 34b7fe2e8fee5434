"""The wrapper under test, with the doubles it is tested on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import gymnasium as gym

from llm_wrappers.testing._difference import Difference
from llm_wrappers.testing._rollout import AnyEnv, Probe
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["Factory", "Subject", "added_layers", "fail", "run_check"]

Factory: TypeAlias = Callable[[AnyEnv], AnyEnv]


@dataclass
class Subject:
    """What `check_wrapper` was given.

    Args:
        factory: Puts the wrapper around an environment.
        make_env: Makes an environment.
        neutral: Puts the wrapper around an environment with settings that change nothing.
        steps: The length of a run.
        seed: The seed of a run.
        readings: Methods whose results belong to what the wrapper returns.
        subprocesses: Whether to start processes.
    """

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
        """Return the actions of a run, the same each time.

        Args:
            env: What they are for, because a wrapper may change the space; None for the wrapper.
        """
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


def fail(point: Point, rule: str, found: Difference, advice: str = "") -> ConformanceError:
    """Return the error for a difference that the contract forbids."""
    return ConformanceError(
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
