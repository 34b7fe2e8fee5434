"""Six worlds with guidance for the four recipes, in any order: what the tests of stacks share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)
import numpy as np

import llm_wrappers as lw
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.guidance.judge import FunctionJudge
from llm_wrappers.wrappers import vector

NAMES = ("sgrl", "ellm", "lmgt", "ultra")
ORDERS = tuple(itertools.permutations(NAMES))
SOME_ORDERS = (("sgrl", "ellm", "lmgt", "ultra"), ("ultra", "lmgt", "ellm", "sgrl"))
"""One in which the table is asked last, and one in which it stands next to the environment."""

Wrap = Callable[[Any], Any]


@dataclass(frozen=True)
class World:
    """An environment, and the four recipes with guidance that exists for it.

    Args:
        env_id: As in `gymnasium.make`.
        recipes: Name -> what puts it around an environment, or around a vector environment.
        options: Of the environment, short episodes among them.
        is_dear: Whether it is too slow for the default suite.
        is_native: Whether it has a vector environment of its own.
    """

    env_id: str
    recipes: Mapping[str, Wrap]
    options: Mapping[str, Any] = field(default_factory=dict)
    is_dear: bool = False
    is_native: bool = False

    def make(self) -> Any:
        """Return the bare environment."""
        return gym.make(self.env_id, **self.options)

    def make_vec(self, n: int = 2) -> Any:
        """Return the bare vector environment."""
        mode = None if self.is_native else "sync"
        return gym.make_vec(self.env_id, num_envs=n, vectorization_mode=mode, **self.options)

    def stack(self, order: Sequence[str], env: Any) -> Any:
        """Put recipes around an environment, the first of them innermost."""
        for name in order:
            env = self.recipes[name](env)
        return env


# --- guidance that is a function of facts ---


def lean_planner(facts: Any) -> list[Any]:
    return [
        [("go left" if row["pole_angle_deg"] < 0 else "go right", 1.0), ("wait", 0.1)]
        for row in facts
    ]


def lake_planner(facts: Any) -> list[Any]:
    return [[("go down" if row["row"] <= row["column"] else "go right", 1.0)] for row in facts]


def swing_planner(facts: Any) -> list[Any]:
    return [[("push" if row["pendulum_velocity_deg_per_s"] > 0 else "pull", 1.0)] for row in facts]


def like_to_do(states: Any, actions: Sequence[Any]) -> list[int]:
    """Judge whether something is done where the agent faces something."""
    return [
        1 if (int(action) == 5) == (row["facing"] not in ("nothing", "grass")) else -1
        for row, action in zip(states.facts, actions, strict=True)
    ]


def with_bounds(env: Any) -> Any:
    """Put goals and bounds around an environment: SGRL where actions cannot be masked."""
    kinds = vector if isinstance(env, gym.vector.VectorEnv) else lw.wrappers
    env = kinds.GoalObservationWrapper(env, planner=swing_planner, goals=["push", "pull"])
    return kinds.ActionBoundsWrapper(env, bounds={"push": (-0.5, 2.0), "pull": (-2.0, 0.5)})


def _table(*states: Any, action: Any, key: str, part: str | None = None) -> CriticalStates:
    entries = [CriticalState(state, action, reward=0.8) for state in states]
    return CriticalStates(entries, key=key, part=part)


def _recipes(
    *, sgrl: Wrap, goals: Sequence[str], threshold: float, judge: Any, table: CriticalStates
) -> dict[str, Wrap]:
    return {
        "sgrl": sgrl,
        "ellm": partial(
            lw.methods.ellm.wrap,
            suggester=list(goals),
            reward_free=False,
            threshold=threshold,
            novelty=False,
        ),
        "lmgt": partial(lw.methods.lmgt.wrap, judge=judge, scale=0.25),
        "ultra": partial(lw.methods.ultra.wrap, critical_states=table),
    }


def _crafting(*, blank: Any) -> dict[str, Wrap]:
    return _recipes(
        sgrl=lw.methods.sgrl.wrap,
        goals=["move left", "move right", "face grass"],
        threshold=0.1,
        judge=FunctionJudge(like_to_do),
        table=_table(blank, action=5, key="nearest:1000.0"),
    )


# --- worlds ---

CART_POLE = World(
    "CartPole-v1",
    _recipes(
        sgrl=partial(
            lw.methods.sgrl.wrap,
            planner=lean_planner,
            masks={"go left": [0], "go right": [0, 1]},
            goals=["go left", "go right", "wait"],
        ),
        goals=["push left"],
        threshold=0.2,
        judge="reference",
        table=_table([0.0, 0.1, 0.15, 0.6], action=1, key="nearest:1.0"),
    ),
    options={"max_episode_steps": 12},
)

FROZEN_LAKE = World(
    "FrozenLake-v1",
    _recipes(
        sgrl=partial(
            lw.methods.sgrl.wrap,
            planner=lake_planner,
            masks={"go down": ["left", "down", "right"], "go right": ["right", "up", "down"]},
            goals=["go down", "go right"],
        ),
        goals=["go down: now on ice", "go right: now on ice"],
        threshold=0.99,
        judge="reference",
        table=_table(0, 4, action=1, key="exact"),
    ),
)

DOOR_KEY = World(
    "MiniGrid-DoorKey-5x5-v0",
    _recipes(
        sgrl=lw.methods.sgrl.wrap,
        goals=["turn right", "turn left"],
        threshold=0.3,
        judge=FunctionJudge(like_to_do),
        table=_table(np.zeros((7, 7, 3), np.uint8), action=2, key="nearest:1000.0", part="image"),
    ),
    options={"max_steps": 12},
)

PENDULUM = World(
    "Pendulum-v1",
    _recipes(
        sgrl=with_bounds,
        goals=["apply 1.00 N m clockwise"],
        threshold=0.2,
        judge="reference",
        table=_table([0.5, 0.5, 0.0], action=[1.0], key="nearest:2.0"),
    ),
    options={"max_episode_steps": 12},
)

CRAFTER = World(
    "llm_wrappers/Crafter-v1",
    _crafting(blank=np.zeros((64, 64, 3), np.uint8)),
    options={"length": 12},
    is_dear=True,
)

CRAFTAX = World(
    "llm_wrappers/CraftaxClassic-v1",
    _crafting(blank=np.zeros(1345, np.float32)),
    options={"length": 12},
    is_dear=True,
    is_native=True,
)

WORLDS = (CART_POLE, FROZEN_LAKE, DOOR_KEY, PENDULUM, CRAFTER, CRAFTAX)


# --- what a run shows ---


def play(env: Any, steps: int, *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Take random steps and return the counters of all layers."""
    env.reset(seed=seed)
    env.action_space.seed(seed)
    is_single = isinstance(env, gym.Env)
    for _ in range(steps):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if is_single and (terminated or truncated):
            env.reset()
    found: dict[str, dict[str, Any]] = (
        env.get_wrapper_attr("all_stats")() if is_single else env.all_stats()
    )
    return found


def lost(stats: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return which guidance of the four recipes was not reached, by the counters."""
    goals, rewards = stats["GoalObservationWrapper"], stats["RewardShiftWrapper"]
    similarity = stats["SimilarityRewardWrapper"]
    pruned = stats.get("ActionMaskWrapper", stats.get("ActionBoundsWrapper", {}))
    applied = pruned.get("masked_states", pruned.get("bounded_states", 0))
    faults = {
        "a planner that fails": goals["failures"],
        "no goals": not goals["states"],
        "nothing is pruned": not applied,
        "a judge that fails": rewards["judge_failures"],
        "nothing is judged": not rewards["judged"] or rewards["good"] + rewards["bad"] == 0,
        "a suggester that fails": similarity["suggester_failures"],
        "nothing is rewarded": not similarity["rewarded"],
        "no critical state is met": not stats["CriticalStateOverrideWrapper"]["hits"],
    }
    return [fault for fault, is_there in faults.items() if is_there]


def outcome(world: World, order: Sequence[str], *, many: bool, steps: int = 40) -> str:
    """Return ``"works"``, what a refusal says, or which guidance is lost."""
    bare = world.make_vec() if many else world.make()
    try:
        env = world.stack(order, bare)
    except (IncompatibleEnvironmentError, InvalidOptionError) as error:
        return f"refused: {error}"
    missing = lost(play(env, steps))
    unguided = env.unguided() if many else env.get_wrapper_attr("unguided")()
    env.close()
    return "; ".join([*missing, *unguided]) or "works"
