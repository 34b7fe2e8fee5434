"""A language model re-weights the goals from what training has reached."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from pydantic import BaseModel, Field

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import GuidanceWarning, InvalidOptionError, LLMError
from llm_wrappers.guidance.goals import bounded_factor
from llm_wrappers.llm import LLM
from llm_wrappers.llm.names import resolve_llm
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods._names import plain
from llm_wrappers.methods.sgrl.unlock_report import UnlockReport

__all__ = ["LLMReweigher"]


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
