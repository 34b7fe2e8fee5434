"""From a trained policy to a refined one: record, find, correct, train on (ULTRA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.errors import AuthoringError
from llm_wrappers.guidance.critical.correcting import Corrector
from llm_wrappers.guidance.critical.finding import Selector
from llm_wrappers.guidance.critical.table import CriticalStates
from llm_wrappers.llm import LLM
from llm_wrappers.methods.ultra._places import check_writable
from llm_wrappers.methods.ultra.guidance import write_guidance
from llm_wrappers.methods.ultra.guides import resolve_guides
from llm_wrappers.methods.ultra.recipe import wrap
from llm_wrappers.methods.ultra.report import UltraReport
from llm_wrappers.sb3._training_env import training_env
from llm_wrappers.sb3.callbacks import GuidanceCallback
from llm_wrappers.sb3.recording import record_trajectories
from llm_wrappers.sb3.relabel_callback import RelabelCallback
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["Refinement", "refine"]

HISTORY, TABLE = "history", "critical-states.json"


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
    model: BaseAlgorithm,
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
    callback: BaseCallback | Sequence[BaseCallback] = (),
    progress_bar: bool = False,
) -> Refinement:
    """Train a sub-optimal policy on, with advice at the critical states of its own history (ULTRA).

    The pipeline of ULTRA (arXiv 2505.20671): play episodes with the policy, put them into words,
    have the critical steps found and corrected, and train on with the table; while training nobody
    is asked. Each step is a function of its own: `record_trajectories`,
    `methods.ultra.write_guidance`, `methods.ultra.wrap`, and ``model.learn``.

    The paper leaves open how many episodes are played and how many critical states each has; these
    numbers are our choice. So is what the wrapper does with the advice, see `methods.ultra.wrap`.

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
        override: Options of `methods.ultra.wrap`, such as ``{"mode": "R", "alpha": 0.1}``.
        folder: Where the episodes are added and the table is written; None for nowhere.
        seed: Makes the run repeatable: seeds playing, selecting and training.
        callback: Callbacks of the training.
        progress_bar: Whether to show progress.

    Returns:
        The table, the episodes, and what came of it.

    Raises:
        InvalidOptionError: If an option is outside what is documented, or nobody is named who finds
            or corrects.
        IncompatibleEnvironmentError: If the environment is none the model can train in.
        AuthoringError: If no critical state was found, with the reasons counted.
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
    if isinstance(env, gym.Env) and not is_wrapped(env, Monitor):
        # Inside of what pays advice, so that the reward logged is that of the environment.
        env = Monitor(env)
    _check_fits(model, wrap(env, "none", **options))
    if folder is not None:
        check_writable(Path(folder) / TABLE)
    finds, corrects = resolve_guides(
        env, llm=llm, selector=selector, corrector=corrector, model=model, part=part,
        captioner=captioner, seed=seed or 0,
    )  # fmt: skip
    trajectories = record_trajectories(
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
    with training_env(model, guided):
        if seed is not None:
            model.set_random_seed(seed)
        model.learn(
            steps, callback=[*_callbacks(model, options), *_as_list(callback)],
            reset_num_timesteps=False, progress_bar=progress_bar,
        )  # fmt: skip
    return Refinement(table, trajectories, report, guided.stats())


def _check_fits(model: BaseAlgorithm, env: Any) -> None:
    """Say what does not fit before anything is played or paid."""
    with training_env(model, env):
        pass


def _callbacks(model: BaseAlgorithm, options: Mapping[str, Any]) -> list[BaseCallback]:
    callbacks: list[BaseCallback] = [GuidanceCallback(start=model.num_timesteps)]
    if isinstance(model, OffPolicyAlgorithm) and options.get("mode") != "R":
        callbacks.append(RelabelCallback())
    return callbacks


def _as_list(callback: BaseCallback | Sequence[BaseCallback]) -> list[BaseCallback]:
    return [callback] if isinstance(callback, BaseCallback) else list(callback)
