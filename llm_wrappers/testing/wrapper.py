"""The conformance kit for wrappers of single environments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from llm_wrappers import checks
from llm_wrappers.testing._hosts import check_stacks, check_with_checkers
from llm_wrappers.testing._rebuilding import (
    check_copies,
    check_recorded_arguments,
    check_spec,
    check_state,
)
from llm_wrappers.testing._returned import check_fresh_objects, check_info, check_neutral
from llm_wrappers.testing._runs import check_no_network, check_reset, check_seeding
from llm_wrappers.testing._subject import AnyEnv, Factory, Subject, run_check
from llm_wrappers.testing.conformance_error import Point
from llm_wrappers.testing.scripted import make_scripted_env

__all__ = ["check_wrapper"]

_CHECKS: Mapping[Point, Callable[[Subject], None]] = {
    Point.RECORDED_ARGUMENTS: check_recorded_arguments,
    Point.SPEC: check_spec,
    Point.ENVIRONMENT_CHECKERS: check_with_checkers,
    Point.FRESH_OBJECTS: check_fresh_objects,
    Point.SEEDING: check_seeding,
    Point.RESET: check_reset,
    Point.COPIES: check_copies,
    Point.INFO: check_info,
    Point.NEUTRAL: check_neutral,
    Point.STACKS: check_stacks,
    Point.NO_NETWORK: check_no_network,
    Point.STATE: check_state,
}


def check_wrapper(
    factory: Factory,
    *,
    make_env: Callable[[], AnyEnv] = make_scripted_env,
    neutral: Factory | None = None,
    points: Collection[Point] | None = None,
    readings: Sequence[str] = ("action_masks",),
    steps: int = 60,
    seed: int = 7,
    subprocesses: bool = False,
) -> dict[Point, str]:
    """Check that a wrapper keeps the contract of this package's wrappers.

    A wrapper that passes can be trained, saved, copied, vectorised and compared with an arm
    without it. The factory may put several wrappers around the environment; all are checked.
    Checks run in the order of `Point`, and the first that fails raises.

    Args:
        factory: Puts the wrapper around an environment.
        make_env: Makes an environment with short episodes; by default a `ScriptedEnv`. Without a
            spec, as environments have that `gymnasium.make` did not make, less can be checked.
        neutral: Puts the wrapper around an environment with settings that must change nothing
            (weight 0, mask all ones, empty table); None leaves that point out.
        points: The points to check; None for all.
        readings: Methods without arguments whose results count as what the wrapper returns,
            where it has them.
        steps: The steps of each run, at least 20.
        seed: The seed of each run.
        subprocesses: Whether to check SubprocVecEnv too, which takes seconds.

    Returns:
        What could not be checked, in whole or in part, and why.

    Raises:
        ConformanceError: If the wrapper does not keep a point; the error says which.
        InvalidOptionError: If there are too few steps.

    >>> from llm_wrappers import GoalObservationWrapper
    >>> from llm_wrappers.testing import ScriptedPlanner
    >>> def add_goal(env):
    ...     planner = ScriptedPlanner([("go left", 1.0), ("go right", 3.0)])
    ...     return GoalObservationWrapper(env, planner=planner, goals=["go left", "go right"])
    >>> skipped = check_wrapper(add_goal, neutral=add_goal)
    >>> Point.SEEDING in skipped
    False
    """
    checks.whole("steps", steps, least=20)
    subject = Subject(
        factory=factory,
        make_env=make_env,
        neutral=neutral,
        steps=steps,
        seed=seed,
        readings=readings,
        subprocesses=subprocesses,
    )
    for point, check in _CHECKS.items():
        if points is None or point in points:
            run_check(point, check, subject)
    return subject.skipped
