"""Running several arms with the same seeds and reporting on them, whatever happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_wrappers.demo.arms import ARMS
from llm_wrappers.demo.report import write_report
from llm_wrappers.demo.training import RunResult, train_arm
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.worlds import ENV_IDS

__all__ = ["Experiment", "Outcome", "run_experiment"]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What to compare.

    Args:
        env_id: One of `llm_wrappers.worlds.ENV_IDS`.
        arms: Keys of `ARMS`, in the order of training.
        seeds: The same for every arm.
        steps: Environment steps of each run.
        num_envs: Sub-environments of each run.
        out: The folder for everything that is written.
        progress_bar: Whether to show one per run.

    Raises:
        UnknownNameError: If an arm or the environment is not known.
        InvalidOptionError: If there is no arm or no seed, one is given twice, or a number is too
            low.
    """

    env_id: str = "llm_wrappers/CraftaxClassic-v1"
    arms: Sequence[str] = ("ppo", "sgrl")
    seeds: Sequence[int] = (0,)
    steps: int = 300_000
    num_envs: int = 64
    out: Path = Path("runs/demo")
    progress_bar: bool = True

    def __post_init__(self) -> None:
        if self.env_id not in ENV_IDS:
            raise UnknownNameError(f"env must be one of {sorted(ENV_IDS)}, got {self.env_id!r}")
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown:
            raise UnknownNameError(f"arms must be among {sorted(ARMS)}, got {unknown}")
        if not self.arms or not self.seeds:
            raise InvalidOptionError("give at least one arm and one seed")
        for name in ("arms", "seeds"):
            given = list(getattr(self, name))
            if len(set(given)) < len(given):
                raise InvalidOptionError(f"{name} must not repeat, got {given}")
        if min(self.seeds) < 0:
            raise InvalidOptionError(f"seeds must be >= 0, got {list(self.seeds)}")
        for name in ("steps", "num_envs"):
            if getattr(self, name) < 1:
                raise InvalidOptionError(f"{name} must be >= 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Outcome:
    """What an experiment left behind.

    Args:
        results: One per run that was started.
        table: The table, as it is in `table.md`.
        interrupted: Whether it was stopped before its end.
    """

    results: list[RunResult]
    table: str
    interrupted: bool


def run_experiment(experiment: Experiment) -> Outcome:
    """Train every arm with every seed, one after the other, and write the report.

    Ctrl-C ends the run that is training; what was done so far is reported.
    """
    results: list[RunResult] = []
    try:
        for seed in experiment.seeds:
            for arm in experiment.arms:
                results.append(_train(experiment, arm, seed))
                if results[-1].interrupted:
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        interrupted = True
    else:
        interrupted = False
    title = f"{experiment.env_id}, {experiment.steps:,} steps, {experiment.num_envs} environments"
    table = write_report(results, experiment.out, title=title) if results else "nothing was trained"
    return Outcome(results, table, interrupted)


def _train(experiment: Experiment, arm: str, seed: int) -> RunResult:
    return train_arm(
        arm,
        env_id=experiment.env_id,
        seed=seed,
        steps=experiment.steps,
        num_envs=experiment.num_envs,
        folder=experiment.out / arm / f"seed-{seed}",
        progress_bar=experiment.progress_bar,
    )
