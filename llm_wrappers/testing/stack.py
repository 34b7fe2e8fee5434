"""The conformance kit for stacks: several wrappers around one environment, in any order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any, TypeAlias

from gymnasium.vector import SyncVectorEnv

from llm_wrappers import checks
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.testing._rebuilding import check_copies, check_spec
from llm_wrappers.testing._returned import check_info
from llm_wrappers.testing._runs import check_seeding
from llm_wrappers.testing._stack_points import (
    check_executed_actions,
    check_masks,
    check_progress,
    check_resume,
    check_vector_run,
    check_words,
)
from llm_wrappers.testing._subject import AnyEnv, Factory, Subject, run_check
from llm_wrappers.testing.conformance_error import ConformanceError, Point
from llm_wrappers.testing.scripted import make_scripted_env
from llm_wrappers.testing.vector_wrapper import VectorFactory, check_vector_wrapper

__all__ = ["StackReport", "check_stack"]

Order: TypeAlias = "tuple[str, ...]"

_CHECKS: Mapping[Point, Callable[[Subject], None]] = {
    Point.STACK_WORDS: check_words,
    Point.STACK_ACTIONS: check_executed_actions,
    Point.STACK_MASKS: check_masks,
    Point.STACK_PROGRESS: check_progress,
    Point.INFO: check_info,
    Point.SEEDING: check_seeding,
    Point.COPIES: check_copies,
    Point.SPEC: check_spec,
    Point.STACK_RESUME: check_resume,
}
_PLACES = ("inside", "outside", "around", "into", "below", "above", "before", "after")
_VECTOR_STEPS = 60


@dataclass
class StackReport:
    """What `check_stack` found; orders are from inside to outside.

    Args:
        works: The orders that keep the contract.
        refused: The orders that cannot be built -> what the error says.
        vector_refused: Those whose vector stack cannot be built -> what the error says.
        skipped: What could not be checked, in whole or in part, and why.
    """

    works: list[Order] = field(default_factory=list)
    refused: dict[Order, str] = field(default_factory=dict)
    vector_refused: dict[Order, str] = field(default_factory=dict)
    skipped: dict[Point, str] = field(default_factory=dict)


def check_stack(
    factories: Mapping[str, Factory],
    *,
    make_env: Callable[[], AnyEnv] = make_scripted_env,
    vector_factories: Mapping[str, VectorFactory] | None = None,
    orders: str | Sequence[Sequence[str]] = "all",
    points: Collection[Point] | None = None,
    readings: Sequence[str] = ("action_masks",),
    steps: int = 60,
    seed: int = 7,
    n: int = 2,
) -> StackReport:
    """Check that wrappers can be stacked in any order, and that nothing is lost in silence.

    Each order is built around an environment of its own. One that cannot be built is fine if the
    error is an `IncompatibleEnvironmentError` or an `InvalidOptionError` that says where the
    wrapper belongs; it is reported. In all others

    - every layer gets the guidance that it asks for (``STACK_WORDS``);
    - a judge, a recorder, transition captions and ``info["executed_action"]`` above them are about
      the action that the environment was given (``STACK_ACTIONS``);
    - no layer executes what `action_masks` closes, which is never everything and what
      ``info["action_mask"]`` says (``STACK_MASKS``);
    - `set_progress` and `set_training` at the top reach every layer (``STACK_PROGRESS``);
    - the info is plain and has the untouched reward (``INFO``), the environment's worlds are those
      that it has alone and a seed gives one run (``SEEDING``), copies go on alike (``COPIES``),
      the spec rebuilds the stack (``SPEC``);
    - the guidance state, saved as JSON and loaded into a stack that is built again, makes it go
      on as before (``STACK_RESUME``);
    - with `vector_factories` the vector stack does what single ones do, in each autoreset mode
      (``VECTOR_TWIN``), and is told and resumed likewise.

    Args:
        factories: Name -> what puts a wrapper, or several, around an environment.
        make_env: Makes an environment with short episodes; by default a `ScriptedEnv`.
        vector_factories: The same names -> what puts their twins around a vector environment; None
            leaves vector stacks out.
        orders: ``"all"``, or a list of orders, each some of the names from inside to outside.
        points: The points to check; None for all.
        readings: Methods without arguments whose results count as what a stack returns, where it
            has them.
        steps: The steps of each run, at least 20; a vector stack takes at least 60.
        seed: The seed of each run.
        n: The sub-environments of a vector stack.

    Returns:
        Which orders work, which are refused, and what could not be checked.

    Raises:
        ConformanceError: If an order does not keep a point; the error says which order and point.
        InvalidOptionError: If an option is outside what is documented, or episodes are too long to
            compare vector stacks.

    >>> from functools import partial
    >>> from llm_wrappers import GoalObservationWrapper, RewardShiftWrapper
    >>> from llm_wrappers.guidance.judge import FunctionJudge
    >>> from llm_wrappers.testing import ScriptedPlanner
    >>> def like_the_first_action(states, actions):
    ...     return [1 if action == 0 else -1 for action in actions]
    >>> planner = ScriptedPlanner([("go left", 1.0), ("go right", 3.0)])
    >>> report = check_stack({
    ...     "goal": partial(GoalObservationWrapper, planner=planner, goals=["go left", "go right"]),
    ...     "judge": partial(RewardShiftWrapper, judge=FunctionJudge(like_the_first_action)),
    ... }, steps=20)
    >>> report.works, report.refused
    ([('goal', 'judge'), ('judge', 'goal')], {})
    """
    checks.whole("steps", steps, least=20)
    checks.whole("n", n, least=1)
    report = StackReport()
    for order in _checked_orders(factories, vector_factories, orders):
        subject = Subject(
            factory=_composed([factories[name] for name in order]),
            make_env=make_env,
            neutral=None,
            steps=steps,
            seed=seed,
            readings=readings,
            subprocesses=False,
            skipped=report.skipped,
        )
        try:
            _check_order(order, subject, vector_factories, points, n, report)
        except ConformanceError as error:
            raise error.within(f"order {' > '.join(order)}, from inside to outside") from error
    _require_another(report)
    return report


def _checked_orders(
    factories: Mapping[str, Factory],
    vector_factories: Mapping[str, VectorFactory] | None,
    orders: str | Sequence[Sequence[str]],
) -> list[Order]:
    names = sorted(factories)
    if not names:
        raise InvalidOptionError("factories must have at least one wrapper, got none")
    if vector_factories is not None and sorted(vector_factories) != names:
        raise InvalidOptionError(
            f"vector_factories must have the names {names}, got {sorted(vector_factories)}"
        )
    if orders == "all":
        return list(permutations(factories))
    listed = [] if isinstance(orders, str) else [tuple(order) for order in orders]
    if not listed or any(not order or not set(order) <= set(names) for order in listed):
        raise InvalidOptionError(
            f'orders must be "all" or a list of orders of the names {names}, got {orders!r}'
        )
    return listed


def _check_order(
    order: Order,
    subject: Subject,
    vector_factories: Mapping[str, VectorFactory] | None,
    points: Collection[Point] | None,
    n: int,
    report: StackReport,
) -> None:
    refusal = _refusal(subject.make)
    if refusal is not None:
        report.refused[order] = refusal
        return
    # One reason is enough for all orders.
    subject.skipped = {}
    for point, check in _CHECKS.items():
        if points is None or point in points:
            run_check(point, check, subject)
    report.skipped.update(subject.skipped)
    if vector_factories is not None and (points is None or Point.VECTOR_TWIN in points):
        _check_vector(order, subject, vector_factories, n, report)
    report.works.append(order)


def _check_vector(
    order: Order,
    subject: Subject,
    vector_factories: Mapping[str, VectorFactory],
    n: int,
    report: StackReport,
) -> None:
    vector_factory = _composed([vector_factories[name] for name in order])
    refusal = _refusal(lambda: vector_factory(SyncVectorEnv([subject.make_env])))
    if refusal is not None:
        report.vector_refused[order] = refusal
        return

    run_check(Point.VECTOR_TWIN, lambda one: check_vector_run(one, vector_factory, n), subject)
    check_vector_wrapper(
        vector_factory,
        subject.factory,
        make_env=subject.make_env,
        n=n,
        steps=max(subject.steps, _VECTOR_STEPS),
        seed=subject.seed,
    )


def _composed(factories: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def wrap(env: Any) -> Any:
        for factory in factories:
            env = factory(env)
        return env

    return wrap


def _refusal(build: Callable[[], Any]) -> str | None:
    """Return what a stack that cannot be built says; None where it can be built.

    Raises:
        ConformanceError: If it does not say what to do.
    """
    rule = "an order to work, or to be refused with the order that works"
    try:
        build().close()
    except (IncompatibleEnvironmentError, InvalidOptionError) as error:
        if not any(word in str(error).lower() for word in _PLACES):
            raise ConformanceError(
                Point.STACK_ORDER,
                rule,
                got=f"{type(error).__name__}: {error}",
                advice="say of what it must be inside or outside",
            ) from error
        return str(error)
    except Exception as error:
        raise ConformanceError(
            Point.STACK_ORDER, rule, got=f"{type(error).__name__}: {error}"
        ) from error
    return None


def _require_another(report: StackReport) -> None:
    if report.refused and not report.works:
        order, text = next(iter(report.refused.items()))
        raise ConformanceError(
            Point.STACK_ORDER,
            "at least one of the orders to work",
            got=f"{len(report.refused)} refusals, that of {' > '.join(order)}: {text}",
        )
