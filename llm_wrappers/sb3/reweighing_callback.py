"""Re-weighting goals during training, from what the episodes reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from llm_wrappers import checks
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.llm import LLM
from llm_wrappers.llm.names import resolve_llm
from llm_wrappers.methods.sgrl.reweighing import Reweigher, ReweigherFunction, resolve_reweigher
from llm_wrappers.methods.sgrl.reweighing_run import Achieved, ReweighingRun, reached_goals

__all__ = ["ReweighingCallback"]

# Names of goals are longer than SB3's tables are wide, and it refuses two that are cut alike.
_NOT_IN_TABLES = ("stdout", "log")


class ReweighingCallback(BaseCallback):
    """Asks every so many steps how much each goal should count, from what the episodes reached.

    The re-weighting of SGRL (arXiv 2509.22008, appendix B.3), whose period is 2,000,000 steps. It
    happens between two rollouts, so that none mixes two weightings; only the goals that are shown
    at that moment stay for their step. Training waits for the answer. A period in which no episode
    finished lasts until one does. No space changes.

    Steps are counted over all sub-environments and over every call of ``learn`` with this object;
    a model that has trained before brings its `num_timesteps`. Use a new callback for a new run.
    With `path` the counts, the factors and the next due step are kept in a JSON file, and a run
    with the same path goes on from it. It is written at each re-weighting, between rollouts (at
    most once a second) and when training ends; after an exception call `save`.

    Logged as ``guidance/reweigh/``: `count`, `episodes`, `seconds` waited, `failures`, the counters
    of the re-weigher, and `factor/<goal>` and `success_rate/<goal>`, which are left out of SB3's
    printed tables.

    Args:
        reweigher: ``"reference"`` (a rule written by hand), ``"none"``,
            ``"llm:MODEL?cache=answers.sqlite"``, a client, an object with ``factors(report)``, or
            a function of the report; see `llm_wrappers.methods.sgrl.resolve_reweigher`.
        every: Environment steps from one re-weighting to the next.
        achieved: From the info of an episode's last step to the goals that it reached; None for
            ``info["achievements"]``, as Crafter and Craftax-Classic have it.
        path: Where the state is kept; None for nowhere.
        verbose: As in Stable-Baselines3; 1 says each re-weighting.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If no re-weigher has the name.
        IncompatibleEnvironmentError: When training starts without a `GoalObservationWrapper`, or
            the first episode ends without achievements.

    >>> import gymnasium as gym
    >>> from stable_baselines3 import PPO
    >>> from llm_wrappers import GoalObservationWrapper
    >>> env = GoalObservationWrapper(
    ...     gym.make("CartPole-v1"), goals=["stand", "last"],
    ...     planner=lambda facts: [[("stand", 1.0), ("last", 1.0)] for _ in facts],
    ... )
    >>> callback = ReweighingCallback(every=64, achieved=lambda info: ["stand"])
    >>> model = PPO("MultiInputPolicy", env, n_steps=64, batch_size=64, device="cpu")
    >>> model = model.learn(128, callback=callback)
    >>> env.goal_factors()
    {'stand': 0.5, 'last': 1.0}
    """

    def __init__(
        self,
        reweigher: str | LLM | Reweigher | ReweigherFunction = "reference",
        *,
        every: int = 2_000_000,
        achieved: Achieved | None = None,
        path: str | Path | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        if achieved is not None and not callable(achieved):
            raise InvalidOptionError(
                f"achieved must be a function of an info that returns goals, got {achieved!r}"
            )
        self._reweigher = _resolved_early(reweigher)
        self._every = checks.whole("every", every, least=1)
        self._achieved = achieved
        self._path = path
        self.run: ReweighingRun | None = None

    def save(self) -> None:
        """Write the state to `path`, where training ended by an exception; else it is written."""
        if self.run is not None:
            self.run.save()

    def _on_training_start(self) -> None:
        envs = self.training_env
        if not envs.has_attr("set_goal_factors"):
            raise IncompatibleEnvironmentError(
                "ReweighingCallback changes the weights of goals, and this environment has none: "
                "wrap it in GoalObservationWrapper first"
            )
        goals = tuple(envs.env_method("goal_vocabulary")[0])
        if self.run is None:
            self.run = self._new_run(goals)
        elif self.run.goals != goals:
            raise InvalidOptionError(
                f"this callback has counted the goals {list(self.run.goals)}, and the environment "
                f"has {list(goals)}; use a new callback for a new run"
            )
        envs.env_method("set_goal_factors", self.run.factors)

    def _new_run(self, goals: tuple[str, ...]) -> ReweighingRun:
        envs = self.training_env
        description = envs.env_method("env_description")[0]
        return ReweighingRun(
            resolve_reweigher(self._reweigher, description=description, goals=goals),
            goals,
            every=self._every,
            path=self._path,
            env_steps=self.num_timesteps,
            factors=envs.env_method("goal_factors")[0],
        )

    def _on_rollout_start(self) -> None:
        run = self._started()
        if run.is_due:
            self._reweigh(run)
        else:
            run.save_now_and_then()

    def _on_step(self) -> bool:
        run = self._started()
        run.advance(self.training_env.num_envs)
        for index in np.flatnonzero(self.locals["dones"]):
            info = self.locals["infos"][index]
            run.count_episode(reached_goals(info, run.goals, self._achieved))
        return True

    def _on_training_end(self) -> None:
        self.save()

    def _reweigh(self, run: ReweighingRun) -> None:
        report = run.report()
        factors = run.reweigh()
        self.training_env.env_method("set_goal_factors", factors)
        stats: dict[str, Any] = dict(getattr(run.reweigher, "stats", dict)())
        scalars = {
            **stats,
            "count": run.count,
            "episodes": report.episodes,
            "seconds": run.seconds,
            # Those that the re-weigher met itself, and what it raised or should not have returned.
            "failures": run.failures + stats.get("failures", 0),
        }
        for name, value in scalars.items():
            self.logger.record(f"guidance/reweigh/{name}", value)
        for kind, values in (("factor", factors), ("success_rate", report.success_rates)):
            for goal, value in values.items():
                name = f"guidance/reweigh/{kind}/{goal.replace(' ', '_')}"
                self.logger.record(name, value, exclude=_NOT_IN_TABLES)
        if self.verbose:
            print(f"goals re-weighted after {run.env_steps} steps, {report.episodes} episodes")

    def _started(self) -> ReweighingRun:
        assert self.run is not None
        return self.run


def _resolved_early(reweigher: Any) -> Any:
    """Return a client or a re-weigher, so that a wrong name is said before training starts."""
    if isinstance(reweigher, str) and reweigher.startswith("llm:"):
        return resolve_llm(reweigher)
    return reweigher if isinstance(reweigher, LLM) else resolve_reweigher(reweigher)
