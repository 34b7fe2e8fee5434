"""A home in which objects lie in wrong places."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.worlds.household.captioner import (
    ABSENT,
    HELD,
    HouseholdCaptioner,
    household_table,
)

__all__ = ["HouseholdEnv"]

_FIRST_RECEPTACLE = 2


class HouseholdEnv(gym.Env[NDArray[np.int64], np.int64]):
    """Picks up what lies wrong and stores it where it belongs; a stand-in for Housekeep.

    Housekeep (Kant et al., 2022, arXiv 2205.10712) is a simulated home with 3D rooms and
    preferences of many people; it cannot be installed from a package index. This is **not**
    Housekeep: it has no rooms, no moving about and no pictures, 24 objects, 12 receptacles, and a
    table of right places that was written by hand (``llm_wrappers/worlds/household/places.json``).
    What both share is the question which a language model can answer: "Should you store a banana in
    the fridge?" Everything here is our choice.

    The observation has one number per object: 0 absent, 1 in the hand, from 2 on the receptacle.
    The first 24 actions pick an object up, the other 12 put down what is held; `action_masks` says
    which have an effect. The reward is the change in the number of objects that lie right, so that
    nothing can be earned twice. The episode ends when all do; `info` counts them as `stored_right`.

    Args:
        objects: How many objects there are in an episode.
        length: The number of steps after which an episode is truncated.

    Raises:
        InvalidOptionError: If an option is outside what is documented.

    >>> env = HouseholdEnv(objects=1)
    >>> observation, info = env.reset(seed=0)
    >>> env.action_space, int(env.action_masks().sum())
    (Discrete(36), 1)
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, *, objects: int = 5, length: int = 50) -> None:
        self._table = household_table()
        count = len(self._table.objects)
        self._objects = checks.whole("objects", objects, least=1, most=count)
        self._length = checks.whole("length", length, least=1)
        self._right = _right_places()
        self._wrong = [
            np.flatnonzero(~row[_FIRST_RECEPTACLE:]) + _FIRST_RECEPTACLE for row in self._right
        ]
        self.observation_space = gym.spaces.MultiDiscrete(
            [len(self._table.receptacles) + _FIRST_RECEPTACLE] * count
        )
        self._actions = count + len(self._table.receptacles)
        self.action_space = gym.spaces.Discrete(self._actions)
        self._home: NDArray[np.int64] | None = None

    @property
    def captioner(self) -> Captioner:
        """How this environment speaks."""
        return HouseholdCaptioner()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Put some objects into places where they do not belong.

        Args:
            seed: Seeds `np_random`; None continues its stream.
            options: Not used.
        """
        super().reset(seed=seed, options=options)
        home = np.full(len(self._table.objects), ABSENT, np.int64)
        for thing in self.np_random.choice(len(home), self._objects, replace=False):
            home[thing] = self.np_random.choice(self._wrong[thing])
        self._home, self._step = home, 0
        return home.copy(), self._info(home)

    def step(self, action: Any) -> tuple[NDArray[np.int64], float, bool, bool, dict[str, Any]]:
        """Pick up an object, or put it down; an action that cannot be done changes nothing.

        Args:
            action: The number of the action, in the order of
                `captioner.description.action_names`.

        Raises:
            ResetNeeded: If there was no reset before.
            InvalidOptionError: If the action is no such number.
        """
        if self._home is None:
            raise ResetNeeded("call reset() before step()")
        if not self.action_space.contains(action):
            raise InvalidOptionError(
                f"expected an action from 0 to {self._actions - 1}, got {action!r}"
            )
        home, before = self._home, self._stored_right(self._home)
        if self.action_masks()[int(action)]:
            self._act(home, int(action))
        self._step += 1
        after = self._stored_right(home)
        terminated = after == self._objects
        truncated = not terminated and self._step >= self._length
        return home.copy(), float(after - before), terminated, truncated, self._info(home)

    def action_masks(self) -> NDArray[np.bool_]:
        """Return which actions have an effect; all of them before the first reset."""
        home, receptacles = self._home, len(self._table.receptacles)
        if home is None:
            return np.ones(self._actions, np.bool_)
        holding = bool((home == HELD).any())
        lying = (home >= _FIRST_RECEPTACLE) & (not holding)
        return np.concatenate([lying, np.full(receptacles, holding)])

    def _act(self, home: NDArray[np.int64], action: int) -> None:
        if action < len(home):
            home[action] = HELD
        else:
            home[home == HELD] = action - len(home) + _FIRST_RECEPTACLE

    def _stored_right(self, home: NDArray[np.int64]) -> int:
        return int(self._right[np.arange(len(home)), home].sum())

    def _info(self, home: NDArray[np.int64]) -> dict[str, Any]:
        return {"stored_right": self._stored_right(home)}


def _right_places() -> NDArray[np.bool_]:
    """Return whether each object belongs where each number of an observation says it is."""
    table = household_table()
    return np.array(
        [
            [False] * _FIRST_RECEPTACLE + [table.is_right(t, place) for place in table.receptacles]
            for t in table.objects
        ]
    )
