"""The conformance kit for wrappers of vector environments: a twin does what the original does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.testing._difference import difference
from llm_wrappers.testing._subject import AnyEnv, Factory, require_alike
from llm_wrappers.testing.conformance_error import ConformanceError, Point
from llm_wrappers.testing.scripted import make_scripted_env

__all__ = ["check_vector_wrapper"]

AnyVectorEnv: TypeAlias = "VectorEnv[Any, Any, Any]"
VectorFactory: TypeAlias = Callable[[AnyVectorEnv], AnyVectorEnv]
Seed: TypeAlias = "int | list[int | None] | None"

_MODES = (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED)
_FEWEST_EPISODES = 3
_STEPS_BETWEEN_EARLY_RESETS = 20


def check_vector_wrapper(
    vector_factory: VectorFactory,
    factory: Factory,
    *,
    make_env: Callable[[], AnyEnv] = make_scripted_env,
    n: int = 3,
    steps: int = 60,
    seed: int = 7,
    progress: float | None = 0.5,
) -> None:
    """Check that a vector wrapper does what its twin for single environments does.

    ``vector_factory(SyncVectorEnv(...))`` must return exactly what a `SyncVectorEnv` of
    ``factory(env)`` returns: observations, rewards, ends and infos, final ones included, and the
    results of the methods that it names in ``batched_methods``. This is checked with 1 and `n`
    sub-environments, in each autoreset mode, over resets in mid-episode without a seed and with
    one per sub-environment, and where autoreset is disabled with ``options["reset_mask"]``.

    Choose settings under which the wrapper draws random numbers, such as a schedule of 0.5.

    Args:
        vector_factory: Puts the vector wrapper around a vector environment.
        factory: Puts the wrapper around an environment.
        make_env: Makes an environment with short episodes; by default a `ScriptedEnv`.
        n: The larger number of sub-environments.
        steps: The steps of each run, at least 30.
        seed: The seed of each run.
        progress: What `set_progress` sets half-way, where there is one; None to leave it.

    Raises:
        ConformanceError: If the two differ; the error says where.
        InvalidOptionError: If there are too few steps or episodes to tell.

    >>> from functools import partial
    >>> from llm_wrappers import wrappers
    >>> from llm_wrappers.testing import ScriptedPlanner
    >>> options = {
    ...     "planner": ScriptedPlanner([("go left", 1.0), ("go right", 3.0)]),
    ...     "goals": ["go left", "go right"],
    ... }
    >>> check_vector_wrapper(
    ...     partial(wrappers.vector.GoalObservationWrapper, **options),
    ...     partial(wrappers.GoalObservationWrapper, **options),
    ... )
    """
    checks.whole("steps", steps, least=30)
    for count, mode in product(sorted({1, n}), _MODES):
        twins = _Twins(vector_factory, factory, make_env, count, mode)
        episodes = _run(twins, steps, seed, progress)
        if episodes < _FEWEST_EPISODES:
            raise InvalidOptionError(
                f"expected at least {_FEWEST_EPISODES} episodes to end in {steps} steps, got "
                f"{episodes} ({twins.title}): use an environment with shorter ones or more steps"
            )


class _Twins:
    """The vector wrapper and the wrapped single environments, driven alike."""

    def __init__(
        self,
        vector_factory: VectorFactory,
        factory: Factory,
        make_env: Callable[[], AnyEnv],
        n: int,
        mode: AutoresetMode,
    ) -> None:
        self._n = n
        self._mode = mode
        self.title = f"{mode.value}, {n} sub-environments"
        self._singles = SyncVectorEnv([lambda: factory(make_env())] * n, autoreset_mode=mode)
        self._vector = vector_factory(SyncVectorEnv([make_env] * n, autoreset_mode=mode))
        self._calls = 0
        self._episodes = 0
        self._last: tuple[Any, Any] | None = None

    def run(self, steps: int, seed: Seed, progress: float | None) -> int:
        """Drive both, compare everything and return how many episodes ended."""
        for name in ("single_observation_space", "single_action_space", "observation_space"):
            expected, got = getattr(self._singles, name), getattr(self._vector, name)
            if expected != got:
                raise ConformanceError(
                    Point.VECTOR_TWIN, f"{name} {expected} ({self.title})", got=got
                )
        self._reset(seed)
        for step, action in enumerate(self._actions(steps)):
            if step == steps // 3:
                self._reset(None)
            if step == steps // 2 and progress is not None:
                self._set_progress(progress)
            if step == 2 * steps // 3:
                self._reset([100 + index if index % 2 == 0 else None for index in range(self._n)])
            ended = self._step(action)
            if self._mode == AutoresetMode.DISABLED:
                self._reset_masked(step, ended)
        self._singles.close()
        self._vector.close()
        return self._episodes

    def _actions(self, steps: int) -> Iterator[Any]:
        space = deepcopy(self._singles.action_space)
        space.seed(3)
        for _ in range(steps):
            yield space.sample()

    def _reset(self, seed: Seed, mask: Any = None) -> None:
        # A dict for each, because vector environments take the mask out of it.
        options = [None if mask is None else {"reset_mask": mask.copy()} for _ in range(2)]
        expected = self._singles.reset(seed=seed, options=options[0])
        got = self._vector.reset(seed=seed, options=options[1])  # type: ignore[arg-type]
        names = ("observations", "infos")
        self._compare(dict(zip(names, expected, strict=True)), dict(zip(names, got, strict=True)))

    def _step(self, action: Any) -> Any:
        given = deepcopy(action)
        expected = self._singles.step(deepcopy(action))
        got = self._vector.step(given)
        names = ("observations", "rewards", "terminated", "truncated", "infos")
        self._compare(dict(zip(names, expected, strict=True)), dict(zip(names, got, strict=True)))
        self._require(difference(action, given, "the actions given"))
        ended = expected[2] | expected[3]
        self._episodes += int(ended.sum())
        return ended

    def _reset_masked(self, step: int, ended: Any) -> None:
        mask = ended.copy()
        if step % _STEPS_BETWEEN_EARLY_RESETS == 0:
            # One in mid-episode too, but seldom, or no episode would come to its end.
            mask[step // _STEPS_BETWEEN_EARLY_RESETS % self._n] = True
        if mask.any():
            seeds: Seed = [step + index for index in range(self._n)] if step % 2 else None
            self._reset(seeds, mask)

    def _set_progress(self, progress: float) -> None:
        vector: Any = self._vector
        if hasattr(vector, "set_progress"):
            vector.set_progress(progress)
            self._singles.call("set_progress", progress)

    def _compare(self, expected: dict[str, Any], got: dict[str, Any]) -> None:
        self._calls += 1
        if self._last is not None:
            before, now = self._last
            self._require(difference(before, now, "what the call before returned"))
        for name in sorted(getattr(type(self._vector), "batched_methods", ())):
            rows: Sequence[Any] = self._singles.call(name)
            expected[f"{name}()"] = _listed(rows)
            got[f"{name}()"] = _listed(getattr(self._vector, name)())
        self._last = (deepcopy(got), got)
        for name, value in expected.items():
            self._require(difference(value, got[name], name))

    def _require(self, found: Any) -> None:
        rule = f"what wrapped single environments give ({self.title}, call {self._calls})"
        require_alike(Point.VECTOR_TWIN, rule, found)


def _run(twins: _Twins, steps: int, seed: int, progress: float | None) -> int:
    try:
        return twins.run(steps, seed, progress)
    except ConformanceError:
        raise
    except Exception as error:
        raise ConformanceError(
            Point.VECTOR_TWIN,
            f"no exception ({twins.title})",
            got=f"{type(error).__name__}: {error}",
        ) from error


def _listed(rows: Any) -> Any:
    """Return rows as lists, because a batch of them may be an array or a tuple."""
    if isinstance(rows, np.ndarray):
        return rows.tolist()
    return [_listed(row) for row in rows] if isinstance(rows, list | tuple) else rows
