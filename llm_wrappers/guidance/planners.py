"""Planners, from facts to weighted goals (SGRL): functions, source code, and asking one."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from llm_wrappers.errors import GuidanceFileError, InvalidOptionError
from llm_wrappers.guidance.consult import Consult, Words
from llm_wrappers.guidance.goals import Goal, Plan, checked_factors, checked_plan
from llm_wrappers.guidance.states import States
from llm_wrappers.sandbox.source import CLASS_NAME, hash_of

__all__ = [
    "FunctionPlanner",
    "Planner",
    "PlannerFunction",
    "PlannerProgram",
    "Planning",
]

WeightedGoals: TypeAlias = "Sequence[Goal | tuple[str, float]] | Mapping[str, float]"
PlannerFunction: TypeAlias = "Callable[[list[dict[str, Any]]], Sequence[WeightedGoals]]"


@runtime_checkable
class Planner(Protocol):
    """Facts to weighted goals, batch first.

    The goals of a state are a list of `Goal` or (text, weight), or a dict of text -> weight; the
    numbers and arrays of NumPy will do.

    A planner may also have these attributes:

    `pure` (bool): its answer depends on the facts alone, so that it may be remembered. Without the
    attribute a planner is asked at every step.

    `reads` (names of facts): the only facts it reads, for a pure planner; it is then given only
    these, and asked only when one of them differs.

    `may_be_empty` (bool): no goal at all is an answer, for a step without guidance, and not a
    failure.
    """

    def plan(self, facts: Sequence[Mapping[str, Any]]) -> Sequence[WeightedGoals]:
        """Return the weighted goals of each of the n states."""
        ...


class FunctionPlanner:
    """A plain function as a planner.

    Args:
        function: Takes a list of n facts dictionaries and returns n lists of (goal, weight), or n
            dicts of goal -> weight.
        pure: Whether the answer depends on the facts alone.

    >>> planner = FunctionPlanner(lambda facts: [[("go left", 1.0)] for _ in facts])
    >>> planner.plan([{}, {}])
    [[('go left', 1.0)], [('go left', 1.0)]]
    """

    def __init__(self, function: PlannerFunction, *, pure: bool = False) -> None:
        self.function = function
        self.pure = pure

    def plan(self, facts: Sequence[Mapping[str, Any]]) -> Sequence[WeightedGoals]:
        """Call the function with fresh dictionaries."""
        return self.function([dict(row) for row in facts])


class PlannerProgram:
    """A planner whose source defines the class `OptimizedGoalGenerator`, as SGRL's does.

    The class takes no arguments and has one method, ``generate(facts) -> list of (goal, weight)``,
    which must be a pure function of the facts of one state. The module may name the facts it
    reads in a tuple ``READS``; it is then given only these and asked again only when one of them
    changes.

    The source runs in this process with all its rights: load only files you would run.

    Args:
        source: The Python source.
        name: What to call it in tracebacks, such as its path.

    Raises:
        GuidanceFileError: If the source cannot be executed or defines no such class.

    >>> program = PlannerProgram('''
    ... READS = ("angle",)
    ... class OptimizedGoalGenerator:
    ...     def generate(self, facts):
    ...         return [("go left" if facts["angle"] < 0 else "go right", 1.0)]
    ... ''')
    >>> program.plan([{"angle": -1}, {"angle": 1}])
    [[('go left', 1.0)], [('go right', 1.0)]]
    """

    pure = True

    def __init__(self, source: str, *, name: str = "planner") -> None:
        self.source = source
        self.name = name
        self._load()

    @property
    def sha256(self) -> str:
        """The hash of the source, by which a planner is known."""
        return hash_of(self.source)

    def plan(self, facts: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return the weighted goals of each state."""
        return [self._generator.generate(dict(row)) for row in facts]

    def _load(self) -> None:
        try:
            namespace = self._executed()
            self.reads = _checked_reads(namespace.get("READS"))
            make_generator = namespace.get(CLASS_NAME)
            self._generator: Any = make_generator() if callable(make_generator) else None
        except Exception as error:
            raise GuidanceFileError(
                f"{self.name}: cannot be executed ({type(error).__name__}: {error})"
            ) from error
        if not callable(getattr(self._generator, "generate", None)):
            raise GuidanceFileError(
                f"{self.name}: expected a class {CLASS_NAME} with a method generate(facts)"
            )

    def _executed(self) -> dict[str, Any]:
        # A name of its own keeps tracebacks readable: linecache then shows the source's lines.
        filename = f"<planner {self.name} {self.sha256[:12]}>"
        linecache.cache[filename] = (
            len(self.source), None, self.source.splitlines(keepends=True), filename,
        )  # fmt: skip
        namespace: dict[str, Any] = {"__name__": "llm_wrappers_planner"}
        # The __future__ imports of this module must not hold for the planner.
        exec(compile(self.source, filename, "exec", dont_inherit=True), namespace)
        return namespace

    def __getstate__(self) -> dict[str, str]:
        return {"source": self.source, "name": self.name}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(state["source"], name=state["name"])  # type: ignore[misc]


def read_program(path: Path) -> PlannerProgram:
    """Return the planner of a source file.

    Raises:
        GuidanceFileError: If the file cannot be read or is not such a planner.
    """
    return PlannerProgram(read_source(path), name=path.name)


def read_source(path: Path) -> str:
    """Return the text of a file with its line ends as they are, so that its hash holds.

    Raises:
        GuidanceFileError: If the file cannot be read.
    """
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise GuidanceFileError(f"cannot read {path}: {error}") from error


def _checked_reads(reads: Any) -> tuple[str, ...] | None:
    if reads is None:
        return None
    if isinstance(reads, str) or not all(isinstance(name, str) for name in reads):
        raise TypeError(f"READS must be a tuple of names of facts, got {reads!r}")
    return tuple(reads)


_WORDS = Words(
    who="planner",
    answers="lists of goals",
    meanwhile="steps like this one run without guidance",
    asked="planned",
    failed="failures",
)


class Planning(Consult[Plan]):
    """A planner that is consulted; batch first.

    An answer that raises or cannot be used becomes the fallback plan, also in later states that
    are equal: code that fails would fail again.

    Args:
        planner: The planner; `pure`, `reads` and `may_be_empty` are read from it if present.
        goals: The goal vocabulary.
        fallback: The goal that stands in for an answer that could not be used.

    >>> from llm_wrappers.guidance.planners import FunctionPlanner
    >>> planner = FunctionPlanner(lambda facts: [[("eat cow", 2.0)] for _ in facts])
    >>> planning = Planning(planner, goals=("collect wood", "eat cow"), fallback="collect wood")
    >>> planning.plans([{"hungry": True}])[0].goals
    (1,)
    """

    def __init__(self, planner: Planner, *, goals: Sequence[str], fallback: str) -> None:
        self.planner = planner
        self.vocabulary = {goal: index for index, goal in enumerate(goals)}
        self.fallback = Plan((self.vocabulary[fallback],), (1.0,), failed=True)
        self._may_be_empty = bool(getattr(planner, "may_be_empty", False))
        self._factors = [1.0] * len(self.vocabulary)
        self._is_weighted = False
        super().__init__(
            planner,
            words=_WORDS,
            counters=("states", "unknown_goals"),
            stand_in=self.fallback,
            remember_failures=True,
        )

    def plans(self, facts: Sequence[Mapping[str, Any]]) -> list[Plan]:
        """Return one plan per state."""
        plans = self._answers(facts)
        if not self._pure and self._is_weighted:
            plans = [plan.scaled(self._factors) for plan in plans]
        counts = self.counts
        counts["states"] += len(plans)
        for plan in plans:
            if plan.unknown:
                counts["unknown_goals"] += plan.unknown
        return plans

    @property
    def factors(self) -> dict[str, float]:
        """What the weight of each goal is multiplied by."""
        return dict(zip(self.vocabulary, self._factors, strict=True))

    def set_factors(self, factors: Mapping[str, float]) -> None:
        """Multiply the weights of every plan from now on, those remembered too.

        The planner is not asked again: its own answers stay as they are, and each is multiplied
        when it is next needed.

        Args:
            factors: Goal -> factor, finite and > 0; goals that are left out have 1.

        Raises:
            InvalidOptionError: If a goal is unknown, or a factor is not finite and > 0.
        """
        new = checked_factors(factors, self.vocabulary)
        if new == self._factors:
            return
        self._factors = new
        self._is_weighted = any(factor != 1.0 for factor in new)
        self._memory.view(self._scaled if self._is_weighted else None)

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode, ready for JSON: the counters and the factors."""
        return {**super().state_dict(), "factors": self.factors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it is the state of something else; nothing is changed then.
        """
        counts = self._checked_counts(state)
        factors = state["factors"]
        if isinstance(factors, Mapping) and factors.keys() != self.vocabulary.keys():
            raise InvalidOptionError(
                f"expected the state of a planner of the goals {list(self.vocabulary)}, got one of "
                f"{list(factors)}"
            )
        self.set_factors(factors)
        self.counts.update(counts)

    def _ask(self, states: States, actions: Sequence[Any]) -> Sequence[Any]:
        # A dict is the copy that `Consult` made; rows of a table become one here.
        return self.planner.plan([r if type(r) is dict else dict(r) for r in states.facts])

    def _check(self, answer: Any) -> Plan:
        return checked_plan(answer, self.vocabulary, may_be_empty=self._may_be_empty)

    def _scaled(self, answer: Any) -> Any:
        return answer.scaled(self._factors) if isinstance(answer, Plan) else answer
