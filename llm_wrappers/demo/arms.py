"""The arms of the comparison: PPO, SGRL, SGRL with one thing changed, and their environments."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llm_wrappers.captions.batches import final_observations, take_rows
from llm_wrappers.captions.facts_table import FactsTable
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import IncompatibleEnvironmentError, UnknownNameError
from llm_wrappers.guidance import resolve_planner
from llm_wrappers.guidance.resolve import REFERENCES
from llm_wrappers.methods import sgrl
from llm_wrappers.worlds import ENV_IDS

__all__ = ["ARMS", "Arm", "FactsObservation", "make_envs"]

_COSINE = {"kind": "three_stage_cosine"}
_SLOW = {**_COSINE, "stages": [[0.5, 1.0, 0.9], [0.9, 0.9, 0.3], [1.0, 0.3, 0.0]]}
# Stages of one value each, which is a staircase.
_STEPS = {**_COSINE, "stages": [[0.5, 1.0, 1.0], [0.75, 0.5, 0.5], [1.0, 0.0, 0.0]]}
_LINEAR = {"kind": "linear", "start": 1.0, "end": 0.0}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm of the comparison.

    Args:
        summary: What it is, in a line.
        wrap: Options of `llm_wrappers.methods.sgrl.wrap`; None for the plain environment.
        masked: Whether MaskablePPO trains it, else PPO.
        distil: Whether `MaskDistillationCallback` is on.
        soft: The schedule of a soft mask's strength; None for hard masks.
        reweigh_every: The environment steps between two re-weightings of the goals by
            `ReweighingCallback`, with the rule that is written by hand; None for never.
        goal_hidden: Whether goals choose the mask but are not shown to the policy.
        facts_shown: Whether the policy is shown the facts that the reference planner reads; only
            without `wrap`.
    """

    summary: str
    wrap: Mapping[str, Any] | None = field(default_factory=dict)
    masked: bool = True
    distil: bool = False
    soft: Mapping[str, Any] | float | None = None
    reweigh_every: int | None = None
    goal_hidden: bool = False
    facts_shown: bool = False


ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        "ppo": Arm(summary="PPO, no guidance", wrap=None, masked=False),
        "facts": Arm(
            summary="PPO that sees the planner's facts", wrap=None, masked=False, facts_shown=True
        ),
        "goals": Arm(summary="goals, no mask", wrap={"masks": "none"}, masked=False),
        "masks": Arm(summary="masks, goals not shown", goal_hidden=True),
        "sgrl": Arm(summary="goals and masks, kept throughout"),
        "half": Arm(summary="mask with probability 1/2", wrap={"schedule": 0.5}),
        "annealed": Arm(summary="mask annealed to 0", wrap={"schedule": _COSINE}),
        "slow": Arm(summary="mask annealed to 0, late", wrap={"schedule": _SLOW}),
        "linear-annealing": Arm(summary="mask annealed to 0, linear", wrap={"schedule": _LINEAR}),
        "step-annealing": Arm(summary="mask annealed 1, 1/2, 0", wrap={"schedule": _STEPS}),
        "distilled": Arm(
            summary="annealed, masked logits trained down", wrap={"schedule": _COSINE}, distil=True
        ),
        "soft": Arm(summary="Eq. 5, C from 10 to 0", soft=_LINEAR),
        "reweighed-50k": Arm(summary="goals weighed anew every 50k steps", reweigh_every=50_000),
        "reweighed-100k": Arm(summary="goals weighed anew every 100k steps", reweigh_every=100_000),
        "reweighed-2m": Arm(summary="goals weighed anew every 2M steps", reweigh_every=2_000_000),
        "no-priorities": Arm(
            summary="feasible goals, equal weights",
            wrap={"planner": "equal", "selection": "sample", "reselect": "on_change"},
        ),
        "sampled": Arm(
            summary="goals sampled by weight",
            wrap={"selection": "sample", "reselect": "on_change"},
        ),
        "single": Arm(
            summary="one goal always: collect diamond", wrap={"planner": "single:collect diamond"}
        ),
        "oracle": Arm(
            summary="every locked goal with met prerequisites", wrap={"planner": "oracle"}
        ),
        "shuffled": Arm(summary="goals exchanged", wrap={"planner": "shuffled"}),
        "random": Arm(summary="random goals", wrap={"planner": "random"}),
        "shuffled-masks": Arm(summary="masks exchanged", wrap={"masks": "shuffled"}),
        "random-masks": Arm(summary="random masks", wrap={"masks": "random"}),
    }
)
"""Every arm by its name. With the mask kept, `sgrl` is the static mask of the paper's ablation."""


def make_envs(env_id: str, arm: Arm, num_envs: int) -> gym.vector.VectorEnv[Any, Any, Any]:
    """Return the vector environment of one arm.

    Args:
        env_id: One of `llm_wrappers.worlds.ENV_IDS`.
        arm: The arm.
        num_envs: The number of sub-environments.

    Raises:
        UnknownNameError: If the environment is not one of them.
    """
    if env_id not in ENV_IDS:
        raise UnknownNameError(f"env must be one of {sorted(ENV_IDS)}, got {env_id!r}")
    native = gym.spec(env_id).vector_entry_point is not None
    in_same_step = {} if native else {"autoreset_mode": AutoresetMode.SAME_STEP}
    envs = gym.make_vec(env_id, num_envs=num_envs, vector_kwargs=in_same_step)
    if arm.wrap is None:
        return FactsObservation(envs, _facts_read(env_id)) if arm.facts_shown else envs
    options = {**arm.wrap, "encoder": _BlankEncoder()} if arm.goal_hidden else arm.wrap
    wrapped: gym.vector.VectorEnv[Any, Any, Any] = sgrl.wrap(envs, **options)
    return wrapped


def _facts_read(env_id: str) -> tuple[str, ...]:
    planner = resolve_planner(f"reference:{REFERENCES[env_id]}", env_id=env_id, goals=())
    reads: tuple[str, ...] = planner.reads  # type: ignore[attr-defined]  # ours all say it
    return reads


class _BlankEncoder:
    """Encodes every text as the same zero, so that a policy cannot see which goal it has."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return zeros of shape (n, 1); no unit vectors, on purpose."""
        return np.zeros((len(texts), 1), dtype=np.float32)


class FactsObservation(gym.vector.VectorWrapper):  # generic only from gymnasium 1.4
    """Shows each sub-environment's facts to the policy, and no goal: what does the text alone give?

    The observation becomes ``{"obs": ..., "facts": ...}``; each fact is one number in [0, 1], or
    one for each of its flags. The environment is reset once here, because only its infos tell which
    facts there are.

    Args:
        envs: A vector environment with a captioner whose facts are a `FactsTable`, with autoreset
            in the same step.
        names: The facts to show.

    Raises:
        IncompatibleEnvironmentError: If the environment is not like that, or lacks a fact.
    """

    def __init__(self, envs: gym.vector.VectorEnv[Any, Any, Any], names: Collection[str]) -> None:
        super().__init__(envs)
        if envs.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP:
            raise IncompatibleEnvironmentError(
                "facts can be shown with autoreset in the same step only, got "
                f"{envs.metadata.get('autoreset_mode')}"
            )
        self._captioner = resolve_captioner(envs)
        table = self._captioner.facts(*envs.reset())
        if not isinstance(table, FactsTable):
            raise IncompatibleEnvironmentError(
                f"expected a captioner that gives a FactsTable, got a {type(table).__name__}"
            )
        self._columns, self._highest = _positions(table, names)
        space = gym.spaces.Box(0.0, 1.0, self._highest.shape, np.float32)
        parts = {"obs": envs.single_observation_space, "facts": space}
        self.single_observation_space = gym.spaces.Dict(parts)
        self.observation_space = batch_space(self.single_observation_space, envs.num_envs)

    def reset(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reset all sub-environments."""
        observations, infos = self.env.reset(**options)
        return self._joined(observations, infos), infos

    def step(self, actions: Any) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]:
        """Step all sub-environments."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        rows = np.flatnonzero(terminated | truncated)
        if rows.size:
            infos = {**infos, "final_obs": self._final(infos, rows)}
        return self._joined(observations, infos), rewards, terminated, truncated, infos

    def _final(self, infos: Mapping[str, Any], rows: NDArray[np.intp]) -> NDArray[np.object_]:
        last = final_observations(infos, self.env.single_observation_space, rows)
        vectors = self._vectors(last, take_rows(infos["final_info"], rows))
        final = np.full(self.num_envs, None, dtype=object)
        for row, observation, vector in zip(rows, last, vectors, strict=True):
            final[row] = {"obs": observation, "facts": vector}
        return final

    def _joined(self, observations: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
        return {"obs": observations, "facts": self._vectors(observations, infos)}

    def _vectors(self, observations: Any, infos: Mapping[str, Any]) -> NDArray[np.float32]:
        table = self._captioner.facts(observations, infos)
        assert isinstance(table, FactsTable)
        return np.divide(table.matrix[:, self._columns], self._highest, dtype=np.float32)


def _positions(
    table: FactsTable, names: Collection[str]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return which matrix columns are shown, and the highest number that each can hold."""
    there = {column.name for column in table.columns}
    if not set(names) <= there:
        raise IncompatibleEnvironmentError(
            f"facts must be among {sorted(there)}, got {sorted(set(names) - there)}"
        )
    owners = [column for column in table.columns for _ in range(column.width)]
    shown = [position for position, column in enumerate(owners) if column.name in names]
    highest = [1 if owners[i].flags else len(owners[i].values) - 1 for i in shown]
    return np.array(shown), np.array(highest, dtype=np.float32)
