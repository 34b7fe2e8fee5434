"""One method over n sub-environments: the base of everything that our wrappers do.

A method is a `Core`. It hears that episodes begin and that a step was taken, and keeps one row per
sub-environment; of autoreset, seeds, infos and other layers it knows nothing. Two drivers put it
around an environment: `_guided.Guided` with one row, `vector._guided.GuidedVector` with n.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.batches import batch_of_one
from llm_wrappers.errors import GuidanceWarning, InvalidOptionError
from llm_wrappers.parts import Part, require_keys
from llm_wrappers.schedules import Schedule, coefficient
from llm_wrappers.trust import AdaptiveTrust
from llm_wrappers.wrappers._world import NOBODY, Voice, World

__all__ = ["PROGRESS_VARIABLE", "Core", "Place", "Start", "Step", "joined", "joined_space"]

PROGRESS_VARIABLE = "LLM_WRAPPERS_PROGRESS"
"""Environment variable with the progress of layers that nobody told it; 0 without it."""

_FEWEST_CONSULTED = 10


@dataclass(frozen=True)
class Place:
    """Where in a stack a core stands.

    Args:
        env: What its layer wraps.
        n: The number of sub-environments.
        world: What is below the whole stack.
        observation_space: Of one sub-environment, from the layer below.
        action_space: Likewise.
    """

    env: Any
    n: int
    world: World
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]

    def batch(self, observations: Any) -> Any:
        """Return what the layer below returned, batched along the first axis."""
        if self.world.is_vector:
            return observations
        return batch_of_one(self.observation_space, observations)

    def listed(self, observations: Any) -> list[Any]:
        """Return what the layer below returned as n observations."""
        if self.world.is_vector:
            return list(iterate(self.env.observation_space, observations))
        return [observations]


@dataclass
class Start:
    """States in which episodes begin.

    Args:
        rows: In which of the n sub-environments.
        streams: The n random generators.
        observations: Of all n, as the layer below returned them.
        seeds: The n seeds of the reset, None where there was none.
    """

    rows: NDArray[np.intp]
    streams: Sequence[np.random.Generator]
    observations: Any
    seeds: Sequence[int | None]


class Step:
    """What a step did in n sub-environments; one object that the driver fills anew.

    Attributes:
        rows: Which of them took a step; the others only show a new episode.
        actions: The n actions of the agent, one by one.
        executed: The n actions that were executed, in the action space of the layer.
        spoken: The same as the world knows them, which may be behind a wrapper that changes them.
        rewards: What the layers below pay, shape (n,).
        paid: What the environment paid, shape (n,).
        terminated: Where it ended the task, shape (n,).
        truncated: Where it cut an episode off, shape (n,).
        ended: Where it ended an episode, shape (n,).
        any_ended: Whether it ended one anywhere.
        over: The rows that show the next episode already.
        begins: The rows in which an episode begins right after; those of `over` among them.
        observations: Of all n, as the layer below returned them.
        infos: Likewise.
        streams: The n random generators.
    """

    __slots__ = (
        "actions", "any_ended", "begins", "ended", "executed", "infos", "observations", "over",
        "paid", "rewards", "rows", "spoken", "streams", "terminated", "truncated",
    )  # fmt: skip

    rows: NDArray[np.intp]
    actions: Sequence[Any]
    executed: Sequence[Any]
    spoken: Sequence[Any]
    rewards: NDArray[np.float64]
    paid: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    ended: NDArray[np.bool_]
    any_ended: bool
    over: NDArray[np.intp]
    begins: NDArray[np.intp]
    observations: Any
    infos: Mapping[str, Any]
    streams: Sequence[np.random.Generator]

    def __init__(self) -> None:
        self.over = self.begins = NOBODY


class Core:
    """What a method does in n sub-environments; the base of all methods.

    `begin`, `act`, `step`, `pay` and `show` are overridden as needed.

    Args:
        place: Where it stands.
        told: What `info` says, entry by entry: columns of n neutral values. A beginning makes its
            rows neutral again.
        parts: Name -> what counts and is saved.
        voice: What says something of the world; None where nobody does.
    """

    space: gym.Space[Any] | None = None
    """Of one observation of the agent; None where it stays as it is."""
    is_silent = False
    """Whether infos pass through untouched."""
    needs_ends = False
    """Whether it works only where it sees how episodes end."""

    def __init__(
        self,
        place: Place,
        told: Mapping[str, NDArray[Any]],
        *,
        parts: Mapping[str, Part],
        voice: Voice | None = None,
    ) -> None:
        self.place, self.n, self.world = place, place.n, place.world
        self.voice = voice
        self.parts = dict(parts)
        self._neutral = dict(told)
        self.told = {name: column.copy() for name, column in told.items()}
        self.training = True
        self.progress = _first_progress()
        self._schedules: list[Schedule] = []

    # --- what a method overrides ---

    def begin(self, start: Start) -> None:
        """Begin episodes."""
        for name, column in self.told.items():
            column[start.rows] = self._neutral[name][start.rows]

    def act(self, actions: Any, rows: NDArray[np.intp], streams: Any) -> Any:
        """Return the n actions to execute, the same object where nothing changes.

        Args:
            actions: The n actions of the agent.
            rows: In which sub-environments they will be executed.
            streams: The n random generators.
        """
        return actions

    def step(self, step: Step) -> None:
        """Take in what a step did."""

    def pay(self, rewards: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return the rewards of the agent, None where those of the layers below stay."""
        return None

    def show(self, observations: Any, row: Any = slice(None)) -> Any:
        """Return the observations of the agent; of one sub-environment where a row is given."""
        return observations

    def set_progress(self, progress: float) -> None:
        """Set the training progress, in [0, 1]."""
        self.progress = progress

    def set_training(self, training: bool) -> None:
        """Switch on or off what only training has."""
        self.training = training

    # --- what the base does for all ---

    def scheduled(self, schedule: Schedule) -> float:
        """Return a schedule's value now; the base then knows that it listens to the progress."""
        if not any(known is schedule for known in self._schedules):
            self._schedules.append(schedule)
        return coefficient(schedule, self.progress)

    def listens(self) -> bool:
        """Return whether the progress makes a difference here."""
        return any(_varies(schedule) for schedule in self._schedules)

    def stats(self) -> dict[str, Any]:
        """Return the counters of all parts."""
        return {name: value for part in self.parts.values() for name, value in part.stats().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode."""
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        return {"progress": self.progress, "training": self.training, "parts": parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it is the state of something else.
        """
        require_keys(state, ("parts", "progress", "training"))
        require_keys(state["parts"], self.parts)
        before = self.state_dict()
        try:
            self._load(state)
        except Exception:
            # All of it or nothing.
            self._load(before)
            raise

    def _load(self, state: Mapping[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        self.set_training(checks.flag("training", state["training"]))
        self.set_progress(checks.number("progress", state["progress"], least=0, most=1))

    def unguided(self) -> str | None:
        """Return why most states had no guidance so far, None where they had."""
        for part in self.parts.values():
            stats = part.stats()
            consulted, without = stats.get("consulted", 0), stats.get("unguided", 0)
            if consulted >= _FEWEST_CONSULTED and 2 * without > consulted:
                cause = getattr(part, "cause", None)
                return f"{without} of {consulted} states had no guidance" + (
                    f": {cause}" if cause else ""
                )
        return None


def joined(observations: Any, key: str, vectors: Any) -> dict[str, Any]:
    """Return observations with one more entry; those that are no dict are under ``"obs"``."""
    if isinstance(observations, Mapping):
        return {**observations, key: vectors}
    return {"obs": observations, key: vectors}


def joined_space(
    base: gym.Space[Any], key: str, part: gym.Space[Any], *, option: str = "key"
) -> gym.spaces.Dict:
    """Return the space of what `joined` returns.

    Args:
        base: Of an observation without the new entry.
        key: Of the new entry.
        part: The space of the new entry.
        option: The option that names the key, for messages.

    Raises:
        InvalidOptionError: If the key is taken or is no key.
    """
    spaces = dict(base.spaces) if isinstance(base, gym.spaces.Dict) else {"obs": base}
    return gym.spaces.Dict({**spaces, checks.key(option, key, spaces): part})


def reset_needed() -> ResetNeeded:
    """Return what a step without an episode raises."""
    return ResetNeeded("call reset() before step()")


def say_untold(name: str, core: Core) -> None:
    """Warn that a schedule stands still, because nobody says how far the training is."""
    warnings.warn(
        f"nobody told {name} the training progress, so its schedule stands where it is at "
        f"{core.progress:g}: train with GuidanceCallback(), which also tells evaluation "
        "environments, or call set_progress(...) yourself; to evaluate a trained model, call "
        f"set_progress(1.0), or set {PROGRESS_VARIABLE}=1 for programs such as rl_zoo3.enjoy; "
        "said once",
        GuidanceWarning,
        stacklevel=3,
    )


def say_unended(name: str) -> None:
    """Warn that episodes are cut off where a layer cannot see it."""
    warnings.warn(
        f"{name} never saw an episode end, and two were reset before: what cuts them off, such as "
        f"TimeLimit, must be inside of it, as in {name}(TimeLimit(env, ...), ...), or episodes "
        "count for nothing here; said once",
        GuidanceWarning,
        stacklevel=3,
    )


def _first_progress() -> float:
    text = os.environ.get(PROGRESS_VARIABLE, "0")
    try:
        return checks.number(PROGRESS_VARIABLE, float(text), least=0, most=1)
    except ValueError:
        raise InvalidOptionError(
            f"the environment variable {PROGRESS_VARIABLE} must be a number in [0, 1], got {text!r}"
        ) from None


def _varies(schedule: Schedule) -> bool:
    plain = schedule.scheduled if isinstance(schedule, AdaptiveTrust) else schedule
    return len({coefficient(plain, progress) for progress in (0.0, 0.5, 1.0)}) > 1
