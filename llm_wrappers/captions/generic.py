"""A captioner for any environment, which knows numbers and names but no rules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from llm_wrappers.captions.captioner import Facts, FactValue, StateByState
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError

__all__ = ["GenericCaptioner", "SpaceLeaf", "space_leaves"]

_Space: TypeAlias = "gym.Space[Any]"
_Value: TypeAlias = "bool | int | float | str"
_ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


@dataclass(frozen=True)
class SpaceLeaf:
    """One array of an observation, and how it becomes facts.

    Args:
        label: The name the facts begin with.
        path: The dict keys and tuple indices that lead to the array.
        space: Its space: Box, Discrete, MultiDiscrete or MultiBinary.
        max_values: An array with more values than this is summarised.
    """

    label: str
    path: tuple[Any, ...]
    space: _Space
    max_values: int

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of one observation, without the batch axis."""
        assert self.space.shape is not None  # true of all spaces in _ARRAYS
        return self.space.shape

    @property
    def summarised(self) -> bool:
        """Whether the array is too large for one fact per value."""
        return math.prod(self.shape) > self.max_values

    @property
    def categorical(self) -> bool:
        """Whether a larger value is another choice, rather than more of something."""
        return not isinstance(self.space, spaces.Box)

    @cached_property
    def fact_names(self) -> tuple[str, ...]:
        """The names of the facts, in the order of `rows`."""
        if self.summarised:
            return tuple(f"{self.label}_{what}" for what in ("shape", "mean", "min", "max"))
        return tuple("_".join(map(str, (self.label, *at))) for at in np.ndindex(self.shape))

    @property
    def words(self) -> str:
        """The space as a phrase, such as ``"obs (2 numbers from -1 to 1)"``."""
        size = math.prod(self.shape)
        count = "1 number" if size == 1 else f"{size} numbers"
        bounds = _bounds(self.space) if size else ""
        summary = f", {_times(self.shape)}, summarised" if self.summarised else ""
        return f"{self.label} ({count}{bounds}{summary})"

    def rows(self, observations: Any) -> list[list[_Value]]:
        """Return the values of the facts as Python scalars, one row per sub-environment."""
        batch = self._batch(observations)
        if self.summarised:
            return [self._summary(row) for row in batch]
        rows: list[list[_Value]] = batch.reshape(len(batch), math.prod(self.shape)).tolist()
        return rows

    def _batch(self, observations: Any) -> npt.NDArray[Any]:
        part = observations
        try:
            for key in self.path:
                part = part[key]
        except (KeyError, IndexError, TypeError) as error:
            raise InvalidOptionError(f"observations hold no {self.label!r}: {error!r}") from error
        batch = np.asarray(part)
        if batch.ndim == 0 or batch.shape[1:] != self.shape:
            expected = ", ".join(map(str, ("n", *self.shape)))
            raise InvalidOptionError(
                f"{self.label!r} must be a batch of the shape ({expected}), got {batch.shape}"
            )
        return batch

    def _summary(self, row: npt.NDArray[Any]) -> list[_Value]:
        with np.errstate(invalid="ignore", over="ignore"):
            mean = float(row.mean(dtype=np.float64))
        return [_times(self.shape), mean, row.min().item(), row.max().item()]


def space_leaves(space: _Space, max_values: int) -> list[SpaceLeaf]:
    """Return the arrays of an observation space in a fixed order.

    >>> space = spaces.Tuple((spaces.Box(0, 9, (2,)), spaces.Box(0, 255, (64, 64), np.uint8)))
    >>> [leaf.fact_names for leaf in space_leaves(space, max_values=64)]
    [('obs_0_0', 'obs_0_1'), ('obs_1_shape', 'obs_1_mean', 'obs_1_min', 'obs_1_max')]
    """
    leaves = [SpaceLeaf(_label(path), path, part, max_values) for path, part in _parts(space, ())]
    if not leaves:
        raise InvalidOptionError(f"observation_space must hold something to observe, got {space}")
    return leaves


def _label(path: tuple[Any, ...]) -> str:
    # A name must not begin with the bare index of a tuple, nor be empty.
    named = path and isinstance(path[0], str)
    return "_".join(map(str, path if named else ("obs", *path)))


def _parts(space: _Space, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], _Space]]:
    children: Iterable[tuple[Any, _Space]]
    if isinstance(space, spaces.Dict):
        children = space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        children = enumerate(space.spaces)
    elif isinstance(space, _ARRAYS):
        yield path, space
        return
    else:
        where = f" at {'.'.join(map(str, path))!r}" if path else ""
        raise InvalidOptionError(
            "observation_space must be made of Box, Discrete, MultiDiscrete, MultiBinary, Dict "
            f"and Tuple, got {type(space).__name__}{where}; write a captioner for it"
        )
    for key, child in children:
        yield from _parts(child, (*path, key))


def _bounds(space: _Space) -> str:
    low: Any
    high: Any
    if isinstance(space, spaces.Box):
        low, high = space.low.min(), space.high.max()
    elif isinstance(space, spaces.Discrete):
        low, high = space.start, space.start + space.n - 1
    elif isinstance(space, spaces.MultiDiscrete):
        low, high = space.start.min(), (space.start + space.nvec - 1).max()
    else:
        low, high = 0, 1
    return f" from {float(low):g} to {float(high):g}"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


class GenericCaptioner(StateByState):
    """Names the numbers of an observation, whatever they mean.

    Facts are flat: ``obs_0, obs_1, ...`` for an array, ``obs`` for a single number, ``<key>_0`` or
    ``<key>_<inner key>_0`` in a dict. An array with more than `max_values` numbers, such as an
    image, is not shown in words: only its shape, mean, minimum and maximum are facts.
    Facts hold the exact numbers; captions round floats to three significant digits, so that states
    that look equal share one caption.

    Args:
        observation_space: The space of one sub-environment: Box, Discrete, MultiDiscrete,
            MultiBinary, or a Dict or Tuple of these, nested or not.
        action_space: The action space of one sub-environment; any space.
        env_id: The name of the environment in the description.
        action_names: One name per action of a Discrete space; by default ``"action 0"`` and so on.
        goals: The goal vocabulary of the description.
        max_values: The largest number of values of one array that become facts of their own.
        include_infos: Whether scalars (numbers, booleans, strings) in the infos become facts, as
            ``info_<key>``. Off by default: infos often hold what the agent must not know.

    Raises:
        InvalidOptionError: If the observation space cannot be put into words, or the action names
            do not fit the action space.

    >>> captioner = GenericCaptioner(
    ...     spaces.Box(-1, 1, (2,)), spaces.Discrete(2), action_names=("left", "right")
    ... )
    >>> before = captioner.facts(np.array([[0.1, 0.5]]), {})
    >>> after = captioner.facts(np.array([[0.2, 0.5]]), {})
    >>> captioner.state_captions(before)
    ['obs_0 is 0.1, obs_1 is 0.5.']
    >>> captioner.transition_captions(before, [1], after)
    ['took action right: obs_0 rose from 0.1 to 0.2']
    """

    def __init__(
        self,
        observation_space: _Space,
        action_space: _Space,
        *,
        env_id: str = "",
        action_names: Sequence[str] | None = None,
        goals: Sequence[str] = (),
        max_values: int = 64,
        include_infos: bool = False,
    ) -> None:
        if max_values < 1:
            raise InvalidOptionError(f"max_values must be at least 1, got {max_values!r}")
        self._leaves = space_leaves(observation_space, max_values)
        names = [name for leaf in self._leaves for name in leaf.fact_names]
        self._names = _unique(names)
        categorical = [leaf.categorical for leaf in self._leaves for _ in leaf.fact_names]
        self._categorical = {
            name for name, flag in zip(self._names, categorical, strict=True) if flag
        }
        self._action_start = _action_start(action_space)
        self._include_infos = include_infos
        self._description = EnvDescription(
            env_id=env_id,
            rules=_rules(self._leaves, action_space),
            action_names=_action_names(action_space, action_names),
            goals=tuple(goals),
        )

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> list[Facts]:
        """Return the numbers of each observation by name.

        Args:
            observations: A batch of n observations: arrays of shape (n, ...), for a Dict or Tuple
                space a dict or tuple of them.
            infos: In the form of `gymnasium.vector`; read only with `include_infos`.

        Raises:
            InvalidOptionError: If an array is missing, has the wrong shape or another n.
        """
        columns = [leaf.rows(observations) for leaf in self._leaves]
        n = len(columns[0])
        if any(len(column) != n for column in columns):
            sizes = [len(column) for column in columns]
            raise InvalidOptionError(f"observations must share one batch size, got {sizes}")
        batch: list[Facts] = []
        for index in range(n):
            values = [value for column in columns for value in column[index]]
            facts: dict[str, FactValue] = dict(zip(self._names, values, strict=True))
            if self._include_infos:
                # What was observed wins where a name is taken.
                facts = {**dict(_info_facts(infos, index, n)), **facts}
            batch.append(facts)
        return batch

    def _state(self, facts: Facts) -> str:
        return _state_caption(facts)

    def _transition(self, before: Facts, action: Any, after: Facts) -> str:
        return f"took {self._action_words(action)}: {self._changes(before, after)}"

    def _action_words(self, action: Any) -> str:
        if self._action_start is None:
            return f"action {_plain_action(action)}"
        names = self._description.action_names
        index = int(action) - self._action_start
        if not 0 <= index < len(names):
            last = self._action_start + len(names) - 1
            raise InvalidOptionError(f"actions must be {self._action_start}..{last}, got {action}")
        name = names[index]
        return name if name.startswith("action ") else f"action {name}"

    def _changes(self, before: Facts, after: Facts) -> str:
        changes = [
            self._change(name, before[name], value)
            if name in before
            else f"{name} is now {_words(value)}"
            for name, value in after.items()
            if name not in before or _words(before[name]) != _words(value)
        ]
        return ", ".join(changes) or "nothing changed"

    def _change(self, name: str, old: FactValue, new: FactValue) -> str:
        verb = "changed"
        if name not in self._categorical and _is_number(old) and _is_number(new):
            # NaN is neither above nor below, and stays "changed".
            verb = "rose" if new > old else "fell" if new < old else verb  # type: ignore[operator]
        return f"{name} {verb} from {_words(old)} to {_words(new)}"


def _state_caption(facts: Facts) -> str:
    if not facts:
        return "Nothing is observed."
    return ", ".join(f"{name} is {_words(value)}" for name, value in facts.items()) + "."


def _is_number(value: FactValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(value: Any) -> str:
    if isinstance(value, float):
        # Adding zero turns -0.0, which nobody tells from 0.0, into 0.0.
        return f"{float(f'{value:.3g}') + 0.0:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain_action(action: Any) -> str:
    if isinstance(action, Mapping):
        return ", ".join(f"{key} {_plain_action(action[key])}" for key in action)
    if isinstance(action, np.ndarray | np.generic):
        return _plain_action(action.tolist())
    if isinstance(action, list | tuple):
        return f"[{', '.join(_plain_action(part) for part in action)}]"
    return _words(action)


def _info_facts(infos: Mapping[str, Any], index: int, n: int) -> Iterator[tuple[str, FactValue]]:
    """Yield the scalars that sub-environment `index` really reported, sorted by name."""
    for key in sorted(infos):
        values = infos[key]
        # "_<key>" is the mask that gymnasium.vector keeps beside each key.
        if key.startswith("_") or not isinstance(values, np.ndarray | Sequence) or len(values) != n:
            continue
        value = values[index]
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, bool | int | float | str) and infos.get(f"_{key}", [True] * n)[index]:
            yield f"info_{key}", value


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names, later ones marked with underscores where two parts of a dict collide."""
    taken: dict[str, None] = {}
    for name in names:
        while name in taken:
            name += "_"
        taken[name] = None
    return list(taken)


def _action_start(action_space: _Space) -> int | None:
    return int(action_space.start) if isinstance(action_space, spaces.Discrete) else None


def _action_names(action_space: _Space, names: Sequence[str] | None) -> tuple[str, ...]:
    if not isinstance(action_space, spaces.Discrete):
        if names:
            raise InvalidOptionError(
                f"action_names are for a Discrete action space, got {action_space}"
            )
        return ()
    start, count = int(action_space.start), int(action_space.n)
    if names is None:
        return tuple(f"action {start + index}" for index in range(count))
    if len(names) != count:
        raise InvalidOptionError(
            f"action_names must hold {count} names, one per action, got {len(names)}"
        )
    return tuple(names)


def _rules(leaves: Sequence[SpaceLeaf], action_space: _Space) -> str:
    if isinstance(action_space, spaces.Discrete):
        action = f"one of {action_space.n} choices"
    else:
        action = f"a value of {action_space}"
    observed = "; ".join(leaf.words for leaf in leaves)
    return (
        "The rules of this environment are not known, only what is observed and done. "
        f"An observation holds {observed}. An action is {action}."
    )
