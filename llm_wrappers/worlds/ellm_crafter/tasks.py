"""The downstream tasks of ELLM's Crafter, as data: deeds to do in order.

The steps of the tasks with names of their own are those of the code published with ELLM (Du et
al., 2023, arXiv 2302.06692). Our choice: a task pays once per episode and then ends it, and things
are in a row if they share an edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from llm_wrappers.errors import UnknownNameError
from llm_wrappers.worlds.ellm_crafter.words import GOOD_NAMES, SAME_DEED

__all__ = ["TASKS", "Deed", "Task", "TaskProgress", "TaskStep", "find_task"]

_TREES_OF_DEFORESTATION = 5
_SURVIVAL_REWARD = 0.05
_MOVES = ("do nothing", "move left", "move right", "move up", "move down")


@dataclass(frozen=True)
class Deed:
    """An action that worked, and what the tasks ask about it.

    Args:
        name: The name of the action.
        with_wood_pickaxe: Whether the agent holds a wood pickaxe.
        beside_another: Whether what is in front now shares an edge with another one like it.
    """

    name: str
    with_wood_pickaxe: bool = False
    beside_another: bool = False


@dataclass(frozen=True)
class TaskStep:
    """One deed of a task.

    Args:
        name: The name of the action; another name of the same deed counts as well.
        with_wood_pickaxe: Whether a wood pickaxe must be held.
        beside_another: Whether what is placed must share an edge with another one.
    """

    name: str
    with_wood_pickaxe: bool = False
    beside_another: bool = False

    def is_done_by(self, deed: Deed) -> bool:
        """Return whether a deed does this step."""
        return (
            self.name in (deed.name, SAME_DEED.get(deed.name))
            and deed.with_wood_pickaxe >= self.with_wood_pickaxe
            and deed.beside_another >= self.beside_another
        )


@dataclass(frozen=True)
class Task:
    """What an agent is rewarded for instead of achievements.

    Args:
        name: The name of the task.
        steps: The deeds, in the order they must be done in; the last one earns 1. Empty for a
            task that has no end.
        per_step: The reward of every step, whatever is done.
    """

    name: str
    steps: tuple[TaskStep, ...] = ()
    per_step: float = 0.0


class TaskProgress:
    """How far a task has come in this episode.

    Args:
        task: The task.

    >>> progress = TaskProgress(find_task("vegetarianism"))
    >>> [progress.reward_for(Deed(name)) for name in ("chop grass", "drink water", "chop grass")]
    [0.0, 0.0, 1.0]
    >>> progress.done
    True
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._steps_done = 0

    @property
    def done(self) -> bool:
        """Whether all steps are done; never true of a task without steps."""
        return bool(self._task.steps) and self._steps_done == len(self._task.steps)

    def reward_for(self, deed: Deed | None) -> float:
        """Return the reward of one step of the environment.

        Args:
            deed: What was done, or None if the action did not work.
        """
        reward = self._task.per_step
        if deed is None or self._steps_done == len(self._task.steps):
            return reward
        self._steps_done += self._task.steps[self._steps_done].is_done_by(deed)
        return reward + float(self.done)


def _in_order(name: str, *deeds: str) -> Task:
    return Task(name, tuple(TaskStep(deed) for deed in deeds))


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        task.name: task
        for task in (
            *(_in_order(name, name) for name in GOOD_NAMES if name not in _MOVES),
            Task("plant row", (TaskStep("place plant", beside_another=True),)),
            Task("make workshop", (TaskStep("place crafting table", beside_another=True),)),
            Task("chop grass with wood pickaxe", (TaskStep("chop grass", with_wood_pickaxe=True),)),
            Task("survival", per_step=_SURVIVAL_REWARD),
            _in_order("vegetarianism", "drink water", "chop grass"),
            _in_order("deforestation", *["chop tree"] * _TREES_OF_DEFORESTATION),
            _in_order("work and sleep", "chop tree", "sleep", "place crafting table"),
            _in_order("gardening", "chop grass", "chop tree", "place plant"),
            _in_order("wilderness survival", "sleep", "chop grass", "attack zombie"),
        )
    }
)
"""The tasks by name: the 24 single deeds, and nine of several steps or with a condition."""


def find_task(name: str) -> Task:
    """Return a task.

    Raises:
        UnknownNameError: If there is no task of this name.

    >>> len(find_task("deforestation").steps)
    5
    """
    if not isinstance(name, str) or name not in TASKS:
        raise UnknownNameError(f"task must be None or one of {tuple(TASKS)}, got {name!r}")
    return TASKS[name]
