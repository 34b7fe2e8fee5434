"""The re-weighting of one training run: what was reached, when it is due, and what was set."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, NonNegativeInt

from llm_wrappers import checks
from llm_wrappers.errors import (
    GuidanceFileError,
    GuidanceWarning,
    IncompatibleEnvironmentError,
    InvalidOptionError,
    UserError,
)
from llm_wrappers.guidance.goals import checked_factors
from llm_wrappers.methods._asking import plain
from llm_wrappers.methods.sgrl.reweighing import Reweigher, UnlockReport
from llm_wrappers.storage.whole_file import write_whole

__all__ = ["Achieved", "ReweighingRun", "reached_goals"]

Achieved: TypeAlias = "Callable[[Mapping[str, Any]], Collection[str]]"

_LONGEST_HISTORY = 100
_SECONDS_BETWEEN_SAVES = 1.0
_BEGIN_ANEW = "name another file, or delete it to begin anew"
_PASS_ACHIEVED = (
    "pass achieved=, a function from the info of an episode's last step to the goals that the "
    "episode reached"
)


class ReweighingRun:
    """Counts which goals the episodes reach, and asks a re-weigher every `every` steps.

    Knows nothing of a training library: whoever trains tells it of steps and finished episodes,
    asks it whether it is due, and passes the factors on to the environments. A re-weigher that
    raises or returns no factors does not stop training: the present factors stay, which is counted
    and warned of once. What the user has to put right (a `UserError`) is raised.

    Args:
        reweigher: Who is asked.
        goals: The goal vocabulary.
        every: Environment steps, over all sub-environments, from one re-weighting to the next.
        path: A JSON file with the state; if it is there, the run goes on from it.
        env_steps: The steps that were done before, for a run that is not in the file.
        factors: The present factors, for a run that is not in the file.

    Raises:
        InvalidOptionError: If `every` is not a positive whole number, or the file is of another
            goal vocabulary.
        GuidanceFileError: If the file cannot be read or written.

    >>> from llm_wrappers.methods.sgrl import ReferenceReweigher
    >>> run = ReweighingRun(ReferenceReweigher(), ["collect wood", "eat cow"], every=1000)
    >>> run.advance(1000)
    >>> run.count_episode(["collect wood"])
    >>> run.is_due
    True
    >>> run.reweigh()
    {'collect wood': 0.5, 'eat cow': 1.0}
    """

    def __init__(
        self,
        reweigher: Reweigher,
        goals: Sequence[str],
        *,
        every: int,
        path: str | Path | None = None,
        env_steps: int = 0,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        self.reweigher = reweigher
        self.goals = tuple(goals)
        self.every: int = checks.whole("every", every, least=1)
        self.path = None if path is None else Path(path).expanduser()
        self.env_steps = env_steps
        self.due = self._next_due()
        self.count = 0
        self.failures = 0
        self.episodes = 0
        self.reached = dict.fromkeys(self.goals, 0)
        self.factors = self._by_goal(factors or {})
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._warned = False
        self._saved_at = -_SECONDS_BETWEEN_SAVES
        if self.path is not None and self.path.exists():
            self._load(self.path)
        self.save()

    @property
    def is_due(self) -> bool:
        """Whether the steps are done and an episode has finished; without one nothing is known."""
        return self.env_steps >= self.due and self.episodes > 0

    def advance(self, steps: int) -> None:
        """Note that environment steps were done, over all sub-environments together."""
        self.env_steps += steps

    def count_episode(self, reached: Collection[str]) -> None:
        """Note that an episode has finished, and which goals it reached."""
        self.episodes += 1
        for goal in reached:
            self.reached[goal] += 1

    def report(self) -> UnlockReport:
        """Return what the episodes since the last re-weighting have reached."""
        return UnlockReport(
            env_steps=self.env_steps,
            episodes=self.episodes,
            success_rates={goal: n / max(self.episodes, 1) for goal, n in self.reached.items()},
            factors=dict(self.factors),
        )

    def reweigh(self) -> dict[str, float]:
        """Ask for new factors, begin a new period and save the state.

        Returns:
            The factor of every goal.

        Raises:
            UserError: A key, model, cache or option is wrong; says what to do.
        """
        report = self.report()
        started = time.monotonic()
        self.factors = self._asked(report)
        self.seconds = time.monotonic() - started
        self.count += 1
        entry = {**report.as_dict(), "factors": dict(self.factors)}
        self.history = [*self.history, entry][-_LONGEST_HISTORY:]
        self.due = self._next_due()
        self.episodes = 0
        self.reached = dict.fromkeys(self.goals, 0)
        self.save()
        return dict(self.factors)

    def save(self) -> None:
        """Write the state to its file, if it has one; the file is never half written.

        Raises:
            GuidanceFileError: If it cannot be written.
        """
        self._saved_at = time.monotonic()
        if self.path is not None:
            state = _State.model_validate(self, from_attributes=True)
            write_whole(self.path, state.model_dump_json(indent=1) + "\n")

    def save_now_and_then(self) -> None:
        """Save unless that was done less than a second ago."""
        if time.monotonic() - self._saved_at >= _SECONDS_BETWEEN_SAVES:
            self.save()

    def _next_due(self) -> int:
        return self.env_steps - self.env_steps % self.every + self.every

    def _by_goal(self, factors: Mapping[str, float]) -> dict[str, float]:
        return dict(zip(self.goals, checked_factors(factors, self.goals), strict=True))

    def _asked(self, report: UnlockReport) -> dict[str, float]:
        try:
            factors = self.reweigher.factors(report)
        except UserError:
            raise
        except Exception as error:
            return self._failed(error)
        try:
            return self._by_goal(factors)
        except InvalidOptionError as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> dict[str, float]:
        self.failures += 1
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the re-weigher failed ({type(error).__name__}: {error}); the goals keep the "
                "present factors until the next re-weighting; counted, said once",
                GuidanceWarning,
                stacklevel=3,
            )
        return self.factors

    def _load(self, path: Path) -> None:
        state = _State.read(path)
        if sorted(state.reached) != sorted(self.goals):
            raise InvalidOptionError(
                f"{path} is of the goals {list(state.reached)}, not of {list(self.goals)}; "
                f"{_BEGIN_ANEW}"
            )
        self.env_steps = max(state.env_steps, self.env_steps)
        # A period that was made shorter holds from now on.
        self.due = min(state.due, self._next_due())
        self.count, self.failures = state.count, state.failures
        self.episodes = state.episodes
        self.reached = {goal: state.reached[goal] for goal in self.goals}
        self.factors = self._by_goal(state.factors)
        self.history = state.history


class _State(BaseModel):
    """The attributes of a run that its file keeps."""

    format: Literal[1] = 1
    env_steps: NonNegativeInt
    due: NonNegativeInt
    count: NonNegativeInt
    failures: NonNegativeInt
    episodes: NonNegativeInt
    reached: dict[str, NonNegativeInt]
    factors: dict[str, float]
    history: list[dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> _State:
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise GuidanceFileError(f"cannot read {path}: {error}; {_BEGIN_ANEW}") from error
        except ValueError as error:
            raise GuidanceFileError(
                f"expected the state of a re-weighting run in {path}, got something else; "
                f"{_BEGIN_ANEW}: {error}"
            ) from error


def reached_goals(
    info: Mapping[str, Any], goals: Sequence[str], achieved: Achieved | None = None
) -> frozenset[str]:
    """Return the goals that an episode reached.

    Args:
        info: The info of its last step.
        goals: The goal vocabulary.
        achieved: From the info to the goals reached; None reads ``info["achievements"]``, a
            mapping of name to count as Crafter and Craftax-Classic give it, where an underscore is
            as good as a space. Achievements that are no goals are left out.

    >>> info = {"achievements": {"collect_wood": 3, "eat_cow": 0}}
    >>> sorted(reached_goals(info, ["collect wood", "eat cow", "wake up"]))
    ['collect wood']

    """
    if achieved is None:
        return _from_achievements(info, goals)
    reached = achieved(info)
    if isinstance(reached, str) or not isinstance(reached, Collection):
        raise InvalidOptionError(f"expected achieved to return a list of goals, got {reached!r}")
    unknown = [goal for goal in reached if goal not in goals]
    if unknown:
        raise InvalidOptionError(
            f"expected achieved to return goals of the vocabulary {list(goals)}, got {unknown}"
        )
    return frozenset(reached)


def _from_achievements(info: Mapping[str, Any], goals: Sequence[str]) -> frozenset[str]:
    achievements = info.get("achievements")
    if not isinstance(achievements, Mapping):
        raise IncompatibleEnvironmentError(
            "expected info['achievements'], name -> count, at the end of an episode, got "
            f"{achievements!r}; {_PASS_ACHIEVED}"
        )
    known = {plain(goal): goal for goal in goals}
    counts = {known[plain(name)]: n for name, n in achievements.items() if plain(name) in known}
    if not counts:
        raise IncompatibleEnvironmentError(
            f"expected achievements among the goals {list(goals)}, got {list(achievements)}; "
            f"{_PASS_ACHIEVED}"
        )
    return frozenset(goal for goal, count in counts.items() if count > 0)
