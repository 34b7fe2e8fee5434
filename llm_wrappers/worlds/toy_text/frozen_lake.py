"""Gymnasium's frozen lake: captions, a rule of thumb, a potential, and the exact judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Facts, StateByState
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.layers import AnyEnv, actions_of, observed_of
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.states import States

__all__ = [
    "FrozenLakeCaptioner",
    "FrozenLakeOracle",
    "judgement",
    "known_frozen_lake",
    "potential_4x4",
    "potential_8x8",
]

_RULES = (
    "You cross a frozen lake of {rows} rows and {columns} columns, from the start to the goal, "
    "which earns a reward of 1; falling into a hole ends the episode with 0. Rows are counted from "
    "the top, columns from the left, both from 0. A move at the edge leaves you in place. The ice "
    "may be slippery: then a move goes where you wanted with probability 1/3, and to each side of "
    "that direction with probability 1/3. The map, with S for the start, F for ice, H for a hole "
    "and G for the goal:\n{map}"
)
_ACTIONS = ("left", "down", "right", "up")
_EQUAL = 1e-9
_GAMMA = 0.99
_SWEEPS = 10_000
_STEPS = {"left": (0, -1), "down": (1, 0), "right": (0, 1), "up": (-1, 0)}
_NAMES = {"S": "start", "F": "ice", "H": "hole", "G": "goal"}


class FrozenLakeCaptioner(StateByState):
    """Speaks about a position on a frozen lake.

    The facts are `row` and `column`, `tile` (start, ice, hole or goal), and `tile_left`,
    `tile_down`, `tile_right`, `tile_up`: what lies there, ``"edge"`` outside the map.

    Args:
        lake: The map, one string per row.
        env_id: The Gymnasium id.

    Raises:
        InvalidOptionError: If the map is not a rectangle of S, F, H and G.

    >>> captioner = FrozenLakeCaptioner(["SFFF", "FHFH", "FFFH", "HFFG"])
    >>> captioner.state_captions(captioner.facts(np.array([4]), {}))
    ['You are in row 1, column 0, on ice. To the left is the edge, down is ice, right is a hole,
    up is the start.']
    """

    def __init__(self, lake: Sequence[str], *, env_id: str = "FrozenLake-v1") -> None:
        rows = tuple(lake)
        if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
            raise InvalidOptionError(f"lake must be rows of one length, got {rows!r}")
        if not set("".join(rows)) <= set(_NAMES):
            raise InvalidOptionError(f"lake must be made of S, F, H and G, got {rows!r}")
        self._lake = rows
        self._description = EnvDescription(
            env_id=env_id,
            rules=_RULES.format(rows=len(rows), columns=len(rows[0]), map="\n".join(rows)),
            action_names=_ACTIONS,
        )

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> list[Facts]:
        """Return each position and what lies around it.

        Args:
            observations: The n numbers of the tiles, shape (n,).
            infos: Not read.

        Raises:
            InvalidOptionError: If the observations are not n tiles of this map.
        """
        tiles = np.asarray(observations)
        columns = len(self._lake[0])
        size = columns * len(self._lake)
        if tiles.ndim != 1 or ((tiles < 0) | (tiles >= size)).any():
            raise InvalidOptionError(f"observations must be n tiles of 0..{size - 1}, got {tiles}")
        return [self._facts(*divmod(tile, columns)) for tile in tiles.tolist()]

    def _state(self, facts: Facts) -> str:
        return _sentence(facts)

    def _transition(self, before: Facts, action: Any, after: Facts) -> str:
        return f"go {self._action_name(action)}: {_move(before, after)}"

    def _facts(self, row: int, column: int) -> Facts:
        around = {
            f"tile_{name}": self._tile(row + down, column + right)
            for name, (down, right) in _STEPS.items()
        }
        return {"row": row, "column": column, "tile": self._tile(row, column), **around}

    def _tile(self, row: int, column: int) -> str:
        inside = 0 <= row < len(self._lake) and 0 <= column < len(self._lake[0])
        return _NAMES[self._lake[row][column]] if inside else "edge"


def _sentence(facts: Facts) -> str:
    around = ", ".join(
        f"{'to the left' if name == 'left' else name} is {_with_article(facts[f'tile_{name}'])}"
        for name in _ACTIONS
    )
    on = _with_article(facts["tile"])
    sentence = f"You are in row {facts['row']}, column {facts['column']}, on {on}. "
    return f"{sentence}{around[0].upper()}{around[1:]}."


def _with_article(tile: Any) -> str:
    articles = {"hole": "a hole", "goal": "the goal", "start": "the start", "edge": "the edge"}
    return articles.get(tile, str(tile))


def _move(before: Facts, after: Facts) -> str:
    here = (before["row"], before["column"]) == (after["row"], after["column"])
    return "stay in place" if here else f"now on {_with_article(after['tile'])}"


def known_frozen_lake(layers: Sequence[AnyEnv], env_id: str) -> FrozenLakeCaptioner | None:
    """Return the captioner of a frozen lake of any map, None where it is none."""
    base: Any = layers[-1]
    lake = getattr(base, "desc", None)
    if not env_id.startswith("FrozenLake") or lake is None:
        return None
    spaces_of = observed_of(base), actions_of(base)
    if spaces_of != (gym.spaces.Discrete(lake.size), gym.spaces.Discrete(len(_ACTIONS))):
        return None
    return FrozenLakeCaptioner([b"".join(row).decode() for row in lake], env_id=env_id)


def judgement(facts: Mapping[str, Any], action: Any) -> int:
    """Judge a move by what lies there: +1 for the goal, -1 for a hole, 0 for all else."""
    return {"goal": 1, "hole": -1}.get(facts[f"tile_{_ACTIONS[int(action)]}"], 0)


def _potential(facts: Mapping[str, Any], *, size: int) -> float:
    # The goal is at the bottom right.
    return float(facts["row"] + facts["column"]) / (2 * size - 2)


potential_4x4 = partial(_potential, size=4)
"""How near the goal a state of ``FrozenLake-v1`` is, as registered."""

potential_8x8 = partial(_potential, size=8)
"""How near the goal a state of ``FrozenLake8x8-v1`` is, as registered."""


class FrozenLakeOracle:
    """+1 for the best moves on a frozen lake, -1 for all others.

    The environment's own transition model is solved by value iteration, as it is registered, with
    a discount of 0.99 (our choice: it makes short ways better).

    Args:
        env_id: ``"FrozenLake-v1"`` or ``"FrozenLake8x8-v1"``.
        env: An environment with another map or other options; None for the one registered.

    Raises:
        InvalidOptionError: If the environment has no transition model.
    """

    pure = True
    reads = ("row", "column")

    def __init__(
        self, env_id: str = "FrozenLake-v1", *, env: gym.Env[Any, Any] | None = None
    ) -> None:
        base: Any = (env or gym.make(env_id)).unwrapped
        if not hasattr(base, "P") or not hasattr(base, "ncol"):
            raise InvalidOptionError(f"expected a FrozenLake environment, got {base!r}")
        self._columns = int(base.ncol)
        values = _solved(base.P)
        best = values.max(axis=1, keepdims=True)
        self._judgements = np.where(values > best - _EQUAL, 1, -1)
        # Where nothing can be won any more all moves are alike.
        self._judgements[best[:, 0] <= 0] = 0

    def judge(self, states: States, actions: Sequence[Any]) -> list[int]:
        """Return whether each move is among the best."""
        return [
            int(self._judgements[facts["row"] * self._columns + facts["column"], int(action)])
            for facts, action in zip(states.facts, actions, strict=True)
        ]


def _solved(model: Mapping[int, Mapping[int, Any]]) -> NDArray[np.float64]:
    """Return the action values of a transition model, shape (states, actions)."""
    values = np.zeros((len(model), len(model[0])))
    for _ in range(_SWEEPS):
        best = values.max(axis=1)
        updated = np.array(
            [
                [_backup(model[state][action], best) for action in sorted(model[state])]
                for state in sorted(model)
            ]
        )
        change = np.abs(updated - values).max()
        values = updated
        if change < _EQUAL / 10:
            break
    return values


def _backup(outcomes: Any, best: NDArray[np.float64]) -> float:
    return float(
        sum(
            probability * (reward + (0.0 if ended else _GAMMA * best[state]))
            for probability, state, reward, ended in outcomes
        )
    )
