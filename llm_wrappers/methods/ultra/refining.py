"""From a trained policy to a refined one: record, find, correct, train on (ULTRA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
from gymnasium.vector import VectorEnv

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.errors import AuthoringError
from llm_wrappers.guidance.critical.correcting import Corrector
from llm_wrappers.guidance.critical.finding import Selector
from llm_wrappers.guidance.critical.table import CriticalStates
from llm_wrappers.llm import LLM
from llm_wrappers.methods.ultra.guidance import UltraReport, check_writable, write_guidance
from llm_wrappers.methods.ultra.guides import resolve_guides
from llm_wrappers.methods.ultra.recipe import wrap
from llm_wrappers.registry import Registry
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["Refinement", "Trainer", "refine"]

HISTORY, TABLE = "history", "critical-states.json"


@runtime_checkable
class Trainer(Protocol):
    """What `refine` needs of a training library.

    Packages register theirs under a name as entry points of the group ``llm_wrappers.trainers``;
    ``"sb3"`` is that of Stable-Baselines3.
    """

    def logged(self, env: Any) -> Any:
        """Return an environment whose own rewards are logged, whatever is put around it."""
        ...

    def check(self, model: Any, env: Any) -> None:
        """Raise `IncompatibleEnvironmentError` unless a model can train in an environment."""
        ...

    def record(self, model: Any, env: Any, **options: Any) -> Sequence[Trajectory]:
        """Play episodes with a model, with the options of `sb3.record_trajectories`."""
        ...

    def train(
        self, model: Any, env: Any, *, steps: int, executed: bool, seed: int | None, **options: Any
    ) -> None:
        """Train a model on in an environment, and give it its own back.

        Where `executed`, another action than the agent's may have been: what is learned from must
        be what was executed. The options are `callback` and `progress_bar`.
        """
        ...


TRAINERS: Registry[Trainer] = Registry(
    "trainer", Trainer, "an object that trains, or a name", group="llm_wrappers.trainers"
)


@dataclass(frozen=True)
class Refinement:
    """What `refine` did.

    Args:
        critical_states: The table with which the model was trained on.
        trajectories: The episodes in which the critical states were found.
        report: What was selected, corrected and dropped, and what it cost.
        stats: The counters of `CriticalStateOverrideWrapper` at the end of the training.
    """

    critical_states: CriticalStates
    trajectories: Sequence[Trajectory]
    report: UltraReport
    stats: Mapping[str, Any]

    def __str__(self) -> str:
        steps = self.stats["steps"]
        rate = 1000 * self.stats["overrides"] / max(steps, 1)
        return (
            f"{self.report}\n\n{steps} steps of training, {self.stats['hit_share']:.1%} of them in "
            f"critical states, {rate:.1f} of 1,000 with advice in place of the agent's action"
        )


def refine(
    model: Any,
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
    *,
    steps: int,
    llm: LLM | str | None = None,
    selector: str | Selector | None = None,
    corrector: str | Corrector | None = None,
    episodes: int = 10,
    per_episode: int = 5,
    key: str = "nearest:0.25",
    part: str | None = None,
    captioner: Captioner | None = None,
    override: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    seed: int | None = None,
    callback: Any = (),
    progress_bar: bool = False,
    trainer: str | Trainer = "sb3",
) -> Refinement:
    """Train a sub-optimal policy on, with advice at the critical states of its own history (ULTRA).

    The pipeline of ULTRA (arXiv 2505.20671): play episodes with the policy, put them into words,
    have the critical steps found and corrected, and train on with the table; while training nobody
    is asked. Each step is a function of its own: `record_trajectories`, `write_guidance`, `wrap`,
    and ``model.learn``.

    The paper leaves open how many episodes are played and how many critical states each has; these
    numbers are our choice. So is what the wrapper does with the advice, see `wrap`.

    The model is trained in place, and gets its own environment back; a model that was loaded
    without one has none afterwards. Off-policy algorithms store the executed actions
    (`RelabelCallback`). With a spent budget it is trained on with what was answered;
    `report.complete` is False then. Answers are in the client's cache: with a `seed`, a refinement
    that was interrupted asks nothing twice when it is called again with the same policy.

    Args:
        model: A trained algorithm of Stable-Baselines3 or sb3-contrib.
        env: An environment as the model needs it, or for a model that was trained in n at once a
            `gymnasium.vector` environment of n. It is stepped, and neither closed nor changed.
        steps: For how many environment steps the model is trained on.
        llm: Finds and corrects critical states: a client, or a name such as
            ``"llm:openai/gpt-5-mini?cache=answers.sqlite"``.
        selector: What finds them instead, an object or a name such as ``"return-drop"``.
        corrector: What corrects them instead, an object or a name such as ``"policy:BETTER.zip"``.
        episodes: How many are played.
        per_episode: How many critical states are asked for in each.
        key: When a state counts as one of the table, see `CriticalStates`.
        part: The part of a Dict observation by which states are looked up.
        captioner: None for the environment's own.
        override: Options of `wrap`, such as ``{"mode": "R", "alpha": 0.1}``.
        folder: Where the episodes are added and the table is written; None for nowhere.
        seed: Makes the run repeatable: seeds playing, selecting and training.
        callback: One or several callbacks of the training library.
        progress_bar: Whether to show progress.
        trainer: Who plays and trains.

    Returns:
        The table, the episodes, and what came of it.

    Raises:
        InvalidOptionError: If an option is outside what is documented, or nobody is named who finds
            or corrects.
        IncompatibleEnvironmentError: If the environment is none the model can train in.
        AuthoringError: If no critical state was found, with the reasons counted.
        DependencyNotInstalled: If Stable-Baselines3 is missing (extra ``sb3``).
        UserError: As `LLM.ask_many` says.

    >>> from stable_baselines3 import PPO
    >>> model = PPO("MlpPolicy", "CartPole-v1", n_steps=64, batch_size=64, seed=0, device="cpu")
    >>> refinement = refine(
    ...     model, gym.make("CartPole-v1"), steps=128, episodes=3, seed=0,
    ...     selector="return-drop", corrector="reference",
    ... )
    >>> len(refinement.trajectories), refinement.stats["steps"]
    (3, 128)
    """
    for name, value in (("steps", steps), ("episodes", episodes), ("per_episode", per_episode)):
        checks.whole(name, value, least=1)
    options = dict(override or {})
    trains = TRAINERS.resolve(trainer)
    # Inside of what pays advice, so that the reward logged is that of the environment.
    env = trains.logged(env)
    # Said before anything is played or paid.
    trains.check(model, wrap(env, "none", **options))
    if folder is not None:
        check_writable(Path(folder) / TABLE)
    finds, corrects = resolve_guides(
        env, llm=llm, selector=selector, corrector=corrector, model=model, part=part,
        captioner=captioner, seed=seed or 0,
    )  # fmt: skip
    trajectories = trains.record(
        model, env, episodes=episodes, seed=seed, captioner=captioner,
        progress_bar=progress_bar, folder=None if folder is None else Path(folder) / HISTORY,
    )  # fmt: skip
    report = write_guidance(
        trajectories, selector=finds, corrector=corrects, per_episode=per_episode, key=key,
        part=part,
    )  # fmt: skip
    table = report.critical_states
    if not len(table):
        raise AuthoringError(
            f"no critical state was found in {len(trajectories)} episodes, so that training would "
            f"be training without advice:\n{report}"
        )
    if folder is not None:
        table.save(Path(folder) / TABLE)
    guided = wrap(env, table, **options)
    trains.train(
        model, guided, steps=steps, executed=options.get("mode") != "R", seed=seed,
        callback=callback, progress_bar=progress_bar,
    )  # fmt: skip
    return Refinement(table, trajectories, report, guided.stats())
