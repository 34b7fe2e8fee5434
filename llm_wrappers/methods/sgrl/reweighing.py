"""Re-weighting goals from what training has reached: what is told, who is asked, and its names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from pydantic import BaseModel, Field

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import GuidanceWarning, InvalidOptionError, LLMError
from llm_wrappers.guidance.goals import bounded_factor
from llm_wrappers.llm import LLM
from llm_wrappers.llm.names import resolve_llm
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods._asking import plain
from llm_wrappers.registry import Registry

__all__ = [
    "FunctionReweigher",
    "LLMReweigher",
    "ReferenceReweigher",
    "Reweigher",
    "ReweigherFunction",
    "UnlockReport",
    "resolve_reweigher",
]

ReweigherFunction: TypeAlias = "Callable[[UnlockReport], Mapping[str, float]]"


@dataclass(frozen=True)
class UnlockReport:
    """Which goals the recent episodes reached, and how the goals are weighted now.

    Args:
        env_steps: Environment steps done, over all sub-environments.
        episodes: How many finished episodes the rates are of: those since the last re-weighting.
        success_rates: Goal -> share of these episodes in which it was reached, in [0, 1].
        factors: Goal -> what its weight is multiplied by now, > 0.

    >>> report = UnlockReport(2_000_000, 50, {"eat cow": 0.5}, {"eat cow": 1.0})
    >>> report.as_dict()["success_rates"]
    {'eat cow': 0.5}
    """

    env_steps: int
    episodes: int
    success_rates: Mapping[str, float]
    factors: Mapping[str, float] = field(default_factory=dict)

    def factor(self, goal: str) -> float:
        """Return the present factor of a goal, 1 where none is known."""
        return float(self.factors.get(goal, 1.0))

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON data."""
        return asdict(self)


@runtime_checkable
class Reweigher(Protocol):
    """What training has reached to new factors for the weights of goals.

    A re-weigher may also have `stats`, which returns counters by name; they are logged.
    """

    def factors(self, report: UnlockReport) -> Mapping[str, float]:
        """Return goal -> factor, finite and > 0; a goal that is left out has the factor 1."""
        ...


class FunctionReweigher:
    """A plain function from an `UnlockReport` to goal -> factor as a re-weigher."""

    def __init__(self, function: ReweigherFunction) -> None:
        self.function = function

    def factors(self, report: UnlockReport) -> Mapping[str, float]:
        """Call the function."""
        return self.function(report)


class ReferenceReweigher:
    """Lowers the weight of goals by how often they are reached; written by hand, asks no model.

    SGRL (arXiv 2509.22008, appendix B.3) has a model re-weight the goals from what is unlocked. Its
    weights are not published, and this rule is our choice: a factor is multiplied by
    ``0.5 ** success rate``, so that a goal of every episode counts half as much as before, and one
    that was never reached keeps its factor. Factors stay in [0.1, 10].

    >>> report = UnlockReport(
    ...     2_000_000, 50, {"collect wood": 1.0, "collect diamond": 0.0}
    ... )
    >>> ReferenceReweigher().factors(report)
    {'collect wood': 0.5, 'collect diamond': 1.0}
    """

    def factors(self, report: UnlockReport) -> dict[str, float]:
        """Return the new factor of each goal.

        Args:
            report: What the recent episodes reached.
        """
        return {
            goal: bounded_factor(report.factor(goal) * 0.5**rate)
            for goal, rate in report.success_rates.items()
        }


class GoalFactor(BaseModel):
    """What the weight of one goal is multiplied by."""

    goal: str = Field(description="a goal of the list, spelled exactly so")
    factor: float = Field(
        description="from 0.1 to 10; 1 leaves the planner's weight", allow_inf_nan=False
    )


class FactorsAnswer(BaseModel):
    """What the model is asked for."""

    factors: list[GoalFactor]


class LLMReweigher:
    """Asks a language model, once per period, how much each goal should count from now on.

    The re-weighting of SGRL (arXiv 2509.22008, appendix B.3); its prompt is not published and ours
    is our choice. The prompt holds no step counts and only whole percents, so that a run that is
    done again finds its answers in the cache.

    Goals outside the vocabulary are dropped, factors outside [0.1, 10] are clipped, goals that are
    left out keep their factor; all are counted in `stats`. Where the model cannot be reached, gives
    nothing usable or the budget is spent, the present factors stay; that is counted, and warned of
    once.

    Args:
        llm: The client or its name; its calls count as ``"reweigh"``.
        description: Rules and goals of the environment.
        goals: The goal vocabulary; None for that of the description.

    Raises:
        InvalidOptionError: If there are no goals.

    >>> from llm_wrappers.testing import ScriptedLLM
    >>> answer = '{"factors": [{"goal": "open door", "factor": 3.0}]}'
    >>> doors = EnvDescription(env_id="Doors", rules="Find it.", goals=("get key", "open door"))
    >>> reweigher = LLMReweigher(ScriptedLLM([answer]), doors)
    >>> reweigher.factors(UnlockReport(2_000_000, 50, {"get key": 0.9, "open door": 0.0}))
    {'get key': 1.0, 'open door': 3.0}
    """

    def __init__(
        self, llm: str | LLM, description: EnvDescription, goals: Sequence[str] | None = None
    ) -> None:
        self.llm = resolve_llm(llm)
        self.goals = tuple(description.goals if goals is None else goals)
        if not self.goals:
            raise InvalidOptionError(
                "expected goals to re-weight, got none; pass goals=[...] where the environment "
                "describes none"
            )
        self._description = description
        self._template = PromptTemplate.packaged("sgrl/reweigh")
        self._warned = False
        self._counts = dict.fromkeys(
            ("answers", "failures", "unknown_goals", "clipped", "left_out"), 0
        )

    def factors(self, report: UnlockReport) -> dict[str, float]:
        """Return the new factor of each goal, or the present ones where no answer can be had.

        Args:
            report: What the recent episodes reached.

        Raises:
            UserError: A key, model, cache or option is wrong; says what to do.
        """
        present = {goal: report.factor(goal) for goal in self.goals}
        try:
            answer = self.llm.ask(
                self.prompt(report),
                schema=FactorsAnswer,
                purpose="reweigh",
                prompt_version=self._template.version,
            )
        except LLMError as error:
            self._failed(error)
            return present
        self._counts["answers"] += 1
        named = self._named(answer.parsed.factors if answer.parsed else [])
        self._counts["left_out"] += len(self.goals) - len(named)
        return {**present, **named}

    def prompt(self, report: UnlockReport) -> str:
        """Return the question for one report.

        Args:
            report: What the recent episodes reached.
        """
        return self._template.fill(
            env_id=self._description.env_id,
            rules=self._description.rules,
            goals="\n".join(self._line(goal, report) for goal in self.goals),
        )

    def stats(self) -> dict[str, int]:
        """Return counters: answers, failures, and what was dropped, clipped or left out in them."""
        return dict(self._counts)

    def _line(self, goal: str, report: UnlockReport) -> str:
        percent = round(100 * report.success_rates.get(goal, 0.0))
        return f"- {goal}: reached in {percent}% of episodes, factor {report.factor(goal):.2g}"

    def _named(self, entries: Sequence[GoalFactor]) -> dict[str, float]:
        known = {plain(goal): goal for goal in self.goals}
        named: dict[str, float] = {}
        for entry in entries:
            goal = known.get(plain(entry.goal))
            if goal is None:
                self._counts["unknown_goals"] += 1
                continue
            named[goal] = bounded_factor(entry.factor)
            self._counts["clipped"] += named[goal] != entry.factor
        return named

    def _failed(self, error: LLMError) -> None:
        self._counts["failures"] += 1
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"no new weights ({type(error).__name__}: {error}); the goals keep the present "
                "ones until the next re-weighting; counted in stats(), said once",
                GuidanceWarning,
                stacklevel=3,
            )


def resolve_reweigher(
    reweigher: str | LLM | Reweigher | ReweigherFunction,
    *,
    description: EnvDescription | None = None,
    goals: Sequence[str] | None = None,
) -> Reweigher:
    """Return the re-weigher that an object, a plain function or a name stands for.

    Args:
        reweigher: ``"reference"`` (a rule written by hand), ``"none"`` (factors stay as they are),
            ``"llm:MODEL?cache=answers.sqlite"`` or a client, for `LLMReweigher`; an object with
            ``factors(report)``; or a function of the report.
        description: Rules and goals of the environment, for a language model.
        goals: The goal vocabulary, for a language model; None for that of the description.

    Raises:
        UnknownNameError: If no re-weigher has the name.
        InvalidOptionError: If it is none of these, or a language model has no description.

    >>> type(resolve_reweigher("reference")).__name__
    'ReferenceReweigher'
    """
    if isinstance(reweigher, LLM):
        return _asking(reweigher, description, goals)
    return _REWEIGHERS.resolve(reweigher, description=description, goals=goals)


def _asking(
    llm: LLM, description: EnvDescription | None, goals: Sequence[str] | None
) -> LLMReweigher:
    if description is None:
        raise InvalidOptionError(
            "expected a description of the environment for the language model, got None; pass "
            "description=, for example that of env.get_wrapper_attr('env_description')()"
        )
    return LLMReweigher(llm, description, goals)


def _present_factors(report: UnlockReport) -> Mapping[str, float]:
    return report.factors


_REWEIGHERS: Registry[Reweigher] = Registry(
    "reweigher",
    Reweigher,
    "an object with factors(report), a function of a report that returns goal -> factor, or a "
    'name such as "reference"',
    adapt=FunctionReweigher,
    names={
        "reference": lambda _, **context: ReferenceReweigher(),
        "none": lambda _, **context: FunctionReweigher(_present_factors),
        "llm:MODEL": lambda rest, **context: _asking(resolve_llm(f"llm:{rest}"), **context),
    },
)
