"""Critical states (ULTRA), and the table in which they are looked up by observation."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.errors import (
    GuidanceFileError,
    GuidanceWarning,
    IncompatibleEnvironmentError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.guidance.critical.state_keys import (
    SIMPLE_SPACES,
    CellKeys,
    NearestKeys,
    check_advisable,
    check_key,
    checked_scales,
    fitted_action,
    flat,
    make_keys,
    stacked,
)
from llm_wrappers.guidance.critical.table_file import (
    plain_provenance,
    read_document,
    write_document,
)
from llm_wrappers.parts import Tally

__all__ = ["CriticalState", "CriticalStates", "NoHits", "resolve_critical_states"]


@dataclass(frozen=True, eq=False)
class CriticalState:
    """A state whose action decides much of what can still be earned, with advice (ULTRA).

    ULTRA (arXiv 2505.20671) has a language model pick such states from played episodes, name the
    appropriate action, and rate the step with a number r in [-1, 1].

    Args:
        state: The observation, an array or a number; of a Dict observation, the one part that
            tells states apart.
        action: The advised action, as the action space has it.
        reward: r, a finite number; a table clips it to [-1, 1].
        rationale: Why the state is critical, in words.
        episode: In which of the played episodes it was found, from 0; None where unknown.
        step: In which step of that episode, from 0; None where unknown.

    Raises:
        InvalidOptionError: If a number is not what is documented.

    >>> CriticalState([0.1, -0.2], 1, reward=0.5, rationale="the pole falls right").action
    1
    """

    state: Any
    action: Any
    reward: float = 1.0
    rationale: str = ""
    episode: int | None = None
    step: int | None = None

    def __post_init__(self) -> None:
        # A table clips what lies outside.
        if not checks.is_number(self.reward):
            raise InvalidOptionError(
                f"the reward of a critical state must be a number in [-1, 1], got {self.reward!r}"
            )
        object.__setattr__(self, "reward", float(self.reward))
        if not isinstance(self.rationale, str):
            raise InvalidOptionError(f"rationale must be a text, got {self.rationale!r}")
        for name in ("episode", "step"):
            value = checks.whole(name, getattr(self, name), least=0, or_none="where unknown")
            object.__setattr__(self, name, value)


_USUAL_PARTS = ("obs", "observation")


class CriticalStates:
    """A table of critical states, their advised actions and rewards (ULTRA, arXiv 2505.20671).

    The paper does not say when a state counts as one of the table, so there are four ways. Equal
    bytes (``"exact"``) never occur again where episodes begin at random in a continuous space.

    States with one key may come with different advice. Then the action that most of them advise
    is kept, of equally many the first, or for floating point actions the mean; the reward is the
    mean of the rewards that go with what is kept. Keys with conflicting advice are counted.

    Args:
        entries: The critical states, all with states and actions of one shape.
        key: When two states are the same: ``"exact"``; ``"rounded:DECIMALS"``; ``"bins:WIDTH"``
            or ``"bins:WIDTH,WIDTH,..."``, one per dimension; ``"nearest:RADIUS"``, if the root
            mean square of the differences, in standard deviations, is at most the radius, and the
            nearest is taken. The default radius is our choice.
        part: Which entry of a Dict observation the states are. None for other observations, and
            to let `bind` find it.
        scales: The standard deviation of each dimension for ``"nearest"``; None for those of the
            recorded states.
        provenance: Where the table comes from, anything that JSON can hold: who found the states,
            with which prompts, at what price. None where it is not known.

    Attributes:
        entries: The entries, rewards clipped to [-1, 1].
        actions: The action of each key, shape (keys, ...).
        rewards: The reward of each key, shape (keys,).
        counts: How many entries, keys, conflicts, and clipped rewards and actions there are.

    Raises:
        InvalidOptionError: If an option is not what is documented, entries do not have one shape,
            or a number in a state or action is not finite.

    >>> table = CriticalStates(
    ...     [CriticalState([0.11, 2.0], 1), CriticalState([0.5, 3.0], 0, reward=-0.5)],
    ...     key="rounded:1",
    ... )
    >>> table.match(np.array([[0.52, 3.0], [0.12, 2.0], [0.3, 2.0]])).tolist()
    [1, 0, -1]
    """

    def __init__(
        self,
        entries: Sequence[CriticalState],
        *,
        key: str = "nearest:0.25",
        part: str | None = None,
        scales: Sequence[float] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        entries = _checked_entries(entries)
        self.provenance = plain_provenance(provenance)
        self.key = key
        self.part = _checked_part(part)
        self.scales = checked_scales(scales)
        self.entries = tuple(
            replace(entry, reward=min(max(float(entry.reward), -1.0), 1.0)) for entry in entries
        )
        self.states = stacked("state", [entry.state for entry in entries])
        advised = stacked("action", [entry.action for entry in entries])
        self.counts = {
            "entries": len(entries),
            "keys": 0,
            "conflicts": 0,
            "clipped_rewards": sum(abs(entry.reward) > 1.0 for entry in entries),
            "clipped_actions": 0,
        }
        self.advised = advised
        self.actions, self.rewards = advised[:0], np.zeros(0)
        self._keys: CellKeys | NearestKeys | None = None
        if entries:
            self._keys = make_keys(key, flat(self.states), self.scales)
            self._aggregate(self._keys.groups)
        else:
            check_key(key, self.scales)

    def __len__(self) -> int:
        return len(self.actions)

    def match(self, observations: Any) -> NDArray[np.intp]:
        """Return the row of the table that each of n observations has, -1 for none.

        Args:
            observations: Shape (n, ...), or with `part` a dict that has such an entry.

        Raises:
            InvalidOptionError: If they are not n states of the shape that those of the table have.
        """
        if self._keys is None:
            return np.full(_batch_size(observations), -1, dtype=np.intp)
        states = np.asarray(observations if self.part is None else observations[self.part])
        shape = self.states.shape[1:]
        if not states.ndim or states.shape[1:] != shape:
            raise InvalidOptionError(
                f"expected n observations of shape {shape}, as the critical states have, got "
                f"an array of shape {states.shape}; look up batches, and with the shape recorded"
            )
        return self._keys.match(flat(states))

    def bind(
        self, observation_space: gym.Space[Any], action_space: gym.Space[Any]
    ) -> CriticalStates:
        """Return this table checked for an environment, actions clipped to a Box.

        The `part` of what is returned is where its states are. Of a Dict observation, without a
        part, it is the entry that states fit in: "obs" or "observation" first, else the only one.
        Observations that are no Dict have no parts, whatever the table says.

        Args:
            observation_space: That of a single environment.
            action_space: A Box, Discrete, MultiDiscrete or MultiBinary.

        Raises:
            IncompatibleEnvironmentError: If states cannot be looked up in these observations, or
                the action space is another one.
            InvalidOptionError: If an action is not of the action space, out of bounds excepted.
        """
        check_advisable(action_space)
        if not self.entries:
            return self
        part = self._found_part(observation_space)
        wrong = f"must be of {action_space}"
        actions = [
            fitted_action(row, action_space, f"the action of critical state {number} {wrong}")
            for number, row in enumerate(self.advised)
        ]
        entries = [
            replace(entry, action=action)
            for entry, action in zip(self.entries, actions, strict=True)
        ]
        bound = CriticalStates(entries, **{**self._options(), "part": part})
        clipped = [
            not np.array_equal(action, row.astype(action.dtype))
            for action, row in zip(actions, self.advised, strict=True)
        ]
        bound.counts["clipped_actions"] = sum(clipped)
        bound.counts["clipped_rewards"] = self.counts["clipped_rewards"]
        return bound

    def save(self, path: str | Path) -> None:
        """Write the table to a JSON file, types of the numbers and provenance included.

        Folders that are missing are made.

        Raises:
            GuidanceFileError: If the file cannot be written.
        """
        write_document(
            path,
            entries=self.entries,
            states=self.states,
            actions=self.advised,
            options=self._options(),
        )

    @classmethod
    def load(cls, path: str | Path) -> CriticalStates:
        """Return the table of a JSON file.

        Raises:
            GuidanceFileError: If the file cannot be read, or holds no such table.
        """
        entries, options = read_document(path, CriticalState)
        try:
            return cls(entries, **options)
        except (TypeError, ValueError) as error:
            raise GuidanceFileError(f"{path}: {error}") from error

    def _options(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "part": self.part,
            "scales": None if self.scales is None else list(self.scales),
            "provenance": self.provenance,
        }

    def _aggregate(self, groups: NDArray[np.intp]) -> None:
        members = [np.flatnonzero(groups == group) for group in range(int(groups.max()) + 1)]
        kept = [_agreed(self.advised[rows]) for rows in members]
        rewards = np.array([entry.reward for entry in self.entries])
        self.actions = np.array([action for action, _ in kept], dtype=self.advised.dtype)
        self.rewards = np.array(
            [rewards[rows][backs].mean() for rows, (_, backs) in zip(members, kept, strict=True)]
        )
        differing = [len(np.unique(self.advised[rows], axis=0)) > 1 for rows in members]
        self.counts["keys"] = len(members)
        self.counts["conflicts"] = sum(differing)

    def _found_part(self, space: gym.Space[Any]) -> str | None:
        """Return the entry of a Dict observation that the states are; None for no Dict."""
        shape = self.states.shape[1:]
        if not isinstance(space, gym.spaces.Dict):
            if _fits(space, shape):
                return None
            raise IncompatibleEnvironmentError(
                f"expected observations of shape {shape}, as the critical states have, got "
                f"{space}; record the states below the same wrappers"
            )
        fitting = [name for name, entry in space.spaces.items() if _fits(entry, shape)]
        usual = [name for name in _USUAL_PARTS if name in fitting]
        if self.part in fitting:
            return self.part
        if self.part is None and (usual or len(fitting) == 1):
            return (usual or fitting)[0]
        if not fitting:
            raise IncompatibleEnvironmentError(
                f"expected an entry of the observation where critical states of shape {shape} "
                f"fit, got none in {space}; record the states below the same wrappers"
            )
        if self.part is None:
            raise IncompatibleEnvironmentError(
                f"expected one entry of the observation where critical states of shape {shape} "
                f"fit, got {fitting}; say which they are with CriticalStates(part=...)"
            )
        raise IncompatibleEnvironmentError(
            f"expected part to be one of the observation's {fitting}, where critical states of "
            f"shape {shape} fit, got {self.part!r}; leave part out or name the one they are"
        )


def _batch_size(observations: Any) -> int:
    # Without states there is no part: any entry will do.
    while isinstance(observations, Mapping):
        observations = next(iter(observations.values()))
    return len(np.asarray(observations))


def _fits(space: gym.Space[Any], shape: tuple[int, ...]) -> bool:
    return isinstance(space, SIMPLE_SPACES) and space.shape == shape


def resolve_critical_states(critical_states: str | CriticalStates) -> CriticalStates:
    """Return the table that an object or a name stands for.

    Args:
        critical_states: A table, ``"file:PATH"``, or ``"none"`` for an empty one.

    Raises:
        UnknownNameError: If the name is not known.
        GuidanceFileError: If the file is missing or holds no table.
        InvalidOptionError: If it is neither a table nor a name.

    >>> len(resolve_critical_states("none"))
    0
    """
    if isinstance(critical_states, CriticalStates):
        return critical_states
    if not isinstance(critical_states, str):
        raise InvalidOptionError(
            "expected a CriticalStates table or a name such as 'file:PATH', got a "
            f"{type(critical_states).__name__}"
        )
    prefix, _, path = critical_states.partition(":")
    if critical_states == "none":
        return CriticalStates([])
    if prefix == "file" and path:
        return CriticalStates.load(path)
    raise UnknownNameError(f'expected "file:PATH" or "none", got {critical_states!r}')


def _agreed(actions: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the action that states of one key are given, and which of them advise it."""
    if actions.dtype.kind == "f":
        return actions.mean(axis=0, dtype=np.float64), np.ones(len(actions), dtype=np.bool_)
    votes = Counter(action.tobytes() for action in actions)
    # Of equally many, `most_common` names the one met first.
    winner, _ = votes.most_common(1)[0]
    backs = np.array([action.tobytes() == winner for action in actions])
    return actions[backs][0], backs


def _checked_entries(entries: Sequence[CriticalState]) -> tuple[CriticalState, ...]:
    for entry in entries:
        if not isinstance(entry, CriticalState):
            raise InvalidOptionError(f"expected CriticalState objects, got {type(entry).__name__}")
    return tuple(entries)


def _checked_part(part: str | None) -> str | None:
    if part is not None and not isinstance(part, str):
        raise InvalidOptionError(f"part must be a key of a Dict observation, got {part!r}")
    return part


_STEPS_WITHOUT_A_HIT = 1000


class NoHits(Tally):
    """Counters of `steps` and `hits`, which say once that no critical state was ever met."""

    was_said = False

    def say_if_none(self, key: str) -> None:
        """Warn of a table in which no state was found in 1,000 steps.

        Args:
            key: When two states are the same in that table.
        """
        steps = self["steps"]
        if self.was_said or self["hits"] or steps < _STEPS_WITHOUT_A_HIT:
            return
        self.was_said = True
        warnings.warn(
            f"no critical state was met in {steps} steps with key={key!r}, so that this is "
            "training without guidance: exact keys never match where episodes begin at random in a "
            "continuous space, and none match observations that are normalised; record the states "
            "below the same wrappers, or give CriticalStates a coarser key, "
            '"rounded:DECIMALS", "bins:WIDTH" or "nearest:RADIUS"; said once',
            GuidanceWarning,
            stacklevel=3,
        )
