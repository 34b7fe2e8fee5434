"""Suggesters, from states to goals in free text (ELLM): the protocol, names, and asking one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from llm_wrappers import checks
from llm_wrappers.errors import GuidanceError, InvalidOptionError
from llm_wrappers.guidance.consult import Consult, Words
from llm_wrappers.guidance.goals import weighted_goals
from llm_wrappers.guidance.planners import Planner
from llm_wrappers.guidance.resolve import resolve_planner
from llm_wrappers.guidance.stable_random import state_generator
from llm_wrappers.guidance.states import States
from llm_wrappers.registry import Registry, whole_in

__all__ = [
    "ENTRY_POINTS",
    "MOST_CHARACTERS",
    "MOST_GOALS",
    "Described",
    "FixedSuggester",
    "FunctionSuggester",
    "PlannerSuggester",
    "States",
    "Suggested",
    "Suggester",
    "SuggesterFunction",
    "Suggesting",
    "Suggestions",
    "UniformSuggester",
    "resolve_suggester",
]

Suggestions: TypeAlias = "Sequence[Sequence[str] | None]"
SuggesterFunction: TypeAlias = "Callable[[States], Suggestions]"


@runtime_checkable
class Suggester(Protocol):
    """States to suggested goals, batch first (ELLM, arXiv 2302.06692).

    None in place of a state's goals means that there is no answer (yet): the step runs without
    guidance. An empty sequence means that nothing is suggested.

    What raises, or is no such sequence, is counted and the state runs without guidance.

    A suggester may also have these:

    `pure` (bool): its answer depends on the facts alone, so that it may be remembered. Without the
    attribute a suggester is asked at every step.

    `reads` (names of facts): the only facts it reads, for a pure suggester; it is then given only
    these.

    `reset(mask)`: called where episodes begin, with the sub-environments in which they do. A
    suggester with this method that is not pure is always asked about all sub-environments, in
    their order; any other may be asked about some of them, in any order.

    `stats()`: counters, which the wrapper reports with its own.
    """

    def suggest(self, states: States) -> Suggestions:
        """Return the suggested goals of each of the n states."""
        ...


class FunctionSuggester:
    """A plain function as a suggester.

    Args:
        function: Takes the `States` and returns one list of goals per state.
        pure: Whether the answer depends on the facts alone.

    >>> suggester = FunctionSuggester(lambda states: [["collect wood"] for _ in states.facts])
    >>> suggester.suggest(States([{}, {}], lambda facts: ["", ""]))
    [['collect wood'], ['collect wood']]
    """

    def __init__(self, function: SuggesterFunction, *, pure: bool = False) -> None:
        self.function = function
        self.pure = pure

    def suggest(self, states: States) -> Suggestions:
        """Call the function."""
        return self.function(states)


class FixedSuggester:
    """The same goals in every state.

    With the whole vocabulary it is ELLM's baseline that pays for anything new.

    Args:
        goals: The goals; may be empty.

    Raises:
        InvalidOptionError: If a goal is no text or is empty.

    >>> FixedSuggester(["eat cow"]).suggest(States([{}], lambda facts: [""]))
    [('eat cow',)]
    """

    pure = True
    reads: tuple[str, ...] = ()

    def __init__(self, goals: Sequence[str]) -> None:
        if isinstance(goals, str) or not all(isinstance(g, str) and g.strip() for g in goals):
            raise InvalidOptionError(f"goals must be a list of non-empty strings, got {goals!r}")
        self.goals = tuple(goals)

    def suggest(self, states: States) -> list[tuple[str, ...]]:
        """Return the goals for each state."""
        return [self.goals] * len(states)


class PlannerSuggester:
    """A planner's goals without their weights, in its order.

    Args:
        planner: The planner; goals of weight 0 are left out.

    >>> from llm_wrappers.guidance import FunctionPlanner
    >>> planner = FunctionPlanner(lambda facts: [[("eat cow", 2.0), ("sleep", 0.0)]])
    >>> PlannerSuggester(planner).suggest(States([{}], lambda facts: [""]))
    [['eat cow']]
    """

    def __init__(self, planner: Planner) -> None:
        self.planner = planner
        self.pure = bool(getattr(planner, "pure", False))
        self.reads: tuple[str, ...] | None = getattr(planner, "reads", None)

    def suggest(self, states: States) -> list[Any]:
        """Return the goals of each state, or the error that a runtime gave in their place."""
        return [_goals_of(answer) for answer in self.planner.plan(states.facts)]


class UniformSuggester:
    """Goals drawn uniformly from the vocabulary, fixed for each state: ELLM's uniform baseline.

    Args:
        goals: The vocabulary.
        number: How many goals are drawn, without repeats; None for 5, or all if there are fewer
            (our choice).
        seed: Another seed draws others.

    Raises:
        InvalidOptionError: If there are not that many goals.

    >>> suggester = UniformSuggester(["a", "b", "c"], number=2)
    >>> state = States([{"x": 1}], lambda facts: [""])
    >>> len(suggester.suggest(state)[0]), suggester.suggest(state) == suggester.suggest(state)
    (2, True)
    """

    pure = True

    def __init__(self, goals: Sequence[str], *, number: int | None = None, seed: int = 0) -> None:
        self.goals = tuple(goals)
        self.number = min(5, len(self.goals)) if number is None else number
        if not checks.is_whole(self.number) or not 1 <= self.number <= len(self.goals):
            raise InvalidOptionError(
                f"number must be from 1 to the {len(self.goals)} goals of the vocabulary, "
                f"got {self.number!r}"
            )
        self.seed = seed

    def suggest(self, states: States) -> list[list[str]]:
        """Return the goals drawn for each state."""
        return [self._drawn(row) for row in states.facts]

    def _drawn(self, facts: Mapping[str, Any]) -> list[str]:
        chosen = state_generator(self.seed, facts).choice(
            len(self.goals), self.number, replace=False
        )
        return [self.goals[index] for index in chosen.tolist()]


def _goals_of(answer: Any) -> Any:
    if answer is None or isinstance(answer, GuidanceError):
        return answer
    return [text for text, weight in weighted_goals(answer) if weight > 0]


MOST_GOALS = 100
"""The goals kept of one state; our choice."""
MOST_CHARACTERS = 1_000
"""The length of a goal from which it is dropped; our choice."""

_WORDS = Words(
    who="suggester",
    answers="lists of goals",
    meanwhile="states like this one have no goals",
    asked="states_asked",
    failed="suggester_failures",
    unanswered="unanswered",
)


class Suggested(NamedTuple):
    """The goals of one state, checked.

    Args:
        goals: Non-empty texts without repeats, in the suggester's order.
        dropped: How many could not be used.
    """

    goals: tuple[str, ...]
    dropped: int = 0


class Suggesting(Consult[Suggested]):
    """A suggester that is consulted; batch first.

    Where the suggester fails, or has no answer yet, there are no goals, and it is asked again. One
    that wants to know where episodes begin, and is not pure, is always asked about all states.

    Args:
        suggester: The suggester.
        caption: From facts to one state caption each.

    >>> from llm_wrappers.guidance.suggesters import FunctionSuggester
    >>> suggester = FunctionSuggester(lambda states: [["eat cow", ""] for _ in states.facts])
    >>> suggesting = Suggesting(suggester, caption=lambda facts: ["a state"] * len(facts))
    >>> suggesting.goals([{"hungry": True}], rows=[0])
    [('eat cow',)]
    """

    def __init__(
        self,
        suggester: Suggester,
        *,
        caption: Callable[[Sequence[Mapping[str, Any]]], Sequence[str]],
    ) -> None:
        self.suggester = suggester
        super().__init__(
            suggester,
            words=_WORDS,
            counters=("states", "suggestions", "dropped_goals"),
            stand_in=Suggested(()),
            caption=caption,
            together=hasattr(suggester, "reset"),
        )

    @property
    def states_asked(self) -> int:
        """How many states the suggester was asked about."""
        return self.counts["states_asked"]

    def goals(
        self, facts: Sequence[Mapping[str, Any]], rows: Sequence[int]
    ) -> list[tuple[str, ...]]:
        """Return the goals of some of n states.

        Args:
            facts: The facts of all n sub-environments.
            rows: Which of them are wanted.
        """
        found = self._answers(facts, rows)
        goals = [suggested.goals for suggested in found]
        counts = self.counts
        counts["states"] += len(goals)
        counts["suggestions"] += sum(map(len, goals))
        for suggested in found:
            if suggested.dropped:
                counts["dropped_goals"] += suggested.dropped
        return goals

    def _ask(self, states: States, actions: Sequence[Any]) -> Sequence[Any]:
        return self.suggester.suggest(states)

    def _check(self, answer: Any) -> Suggested | None:
        return None if answer is None else _checked_goals(answer)


def _checked_goals(answer: Any) -> Suggested:
    if isinstance(answer, str | bytes | Mapping) or not isinstance(answer, Sequence):
        raise GuidanceError(f"expected a list of goals per state, got a {type(answer).__name__}")
    usable = [goal for goal in answer if _is_usable(goal)]
    goals = tuple(dict.fromkeys(usable))
    return Suggested(
        goals[:MOST_GOALS], len(answer) - len(usable) + max(len(goals) - MOST_GOALS, 0)
    )


def _is_usable(goal: Any) -> bool:
    return type(goal) is str and 0 < len(goal) <= MOST_CHARACTERS and not goal.isspace()


ENTRY_POINTS = "llm_wrappers.suggesters"
"""The group of entry points with which a package makes a prefix known.

The value is a function ``load(rest, *, description) -> Suggester``, where `rest` is what stands
behind the colon.
"""


class Described(Protocol):
    """What a name needs to know of the environment; an `EnvDescription` has it."""

    @property
    def env_id(self) -> str:
        """The Gymnasium id."""
        ...

    @property
    def goals(self) -> tuple[str, ...]:
        """The goal vocabulary."""
        ...


def resolve_suggester(
    suggester: str | Sequence[str] | Suggester | SuggesterFunction, *, description: Described
) -> Suggester:
    """Return the suggester that an object, a function, a list of goals or a name stands for.

    Args:
        suggester: ``"reference:NAME"``, the goals of reference guidance; ``"planner:NAME"``, those
            of any planner that `resolve_planner` knows; ``"oracle"``, every goal that is possible
            and not yet reached; ``"uniform"`` or ``"uniform:K"``, K goals drawn at random for each
            state; ``"novelty"``, the whole vocabulary always; ``"fixed:collect wood|eat cow"``;
            ``"none"``; or the prefix of an installed package, such as ``"llm:MODEL"``.
        description: Of the environment, for the names that depend on it.

    Raises:
        UnknownNameError: If no resolver knows the name.
        InvalidOptionError: If what stands behind the name does not fit, or it is no suggester.
        GuidanceFileError: If a file is missing or is no planner.

    >>> from llm_wrappers.captions import EnvDescription
    >>> toy = EnvDescription(env_id="Toy-v0", rules="", goals=("go left", "go right"))
    >>> resolve_suggester("novelty", description=toy).goals
    ('go left', 'go right')
    """
    if isinstance(suggester, list | tuple):
        return FixedSuggester(suggester)
    return _SUGGESTERS.resolve(suggester, description=description)


def _planned(planner: str, description: Described) -> Suggester:
    return PlannerSuggester(
        resolve_planner(planner, env_id=description.env_id, goals=description.goals)
    )


def _uniform(rest: str, description: Described) -> Suggester:
    number = whole_in("uniform:K", rest) if rest else None
    return UniformSuggester(_vocabulary(description, "uniform"), number=number)


def _vocabulary(description: Described, name: str) -> tuple[str, ...]:
    if not description.goals:
        raise InvalidOptionError(
            f"{name!r} suggests goals of the vocabulary, and {description.env_id!r} describes "
            'none; name them, as in suggester="fixed:go left|go right"'
        )
    return description.goals


_SUGGESTERS: Registry[Suggester] = Registry(
    "suggester",
    Suggester,
    "an object with suggest(states), a function of the states that returns a list of goals for "
    'each, a list of goals, or a name such as "fixed:collect wood|eat cow"',
    adapt=FunctionSuggester,
    names={
        "reference:NAME": lambda rest, description: _planned(f"reference:{rest}", description),
        "planner:NAME": _planned,
        "oracle": lambda _, description: _planned("oracle", description),
        "uniform[:K]": _uniform,
        "novelty": lambda _, description: FixedSuggester(_vocabulary(description, "novelty")),
        "fixed:GOAL|GOAL": lambda rest, description: FixedSuggester(
            [goal.strip() for goal in rest.split("|")]
        ),
        "none": lambda _, description: FixedSuggester(()),
    },
    group=ENTRY_POINTS,
)
