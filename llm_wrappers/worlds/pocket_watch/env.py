"""Pocket watches: one decision, and its reward much later."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.worlds.pocket_watch.captioner import BRANDS, EVENTS, PocketWatchCaptioner

__all__ = ["PocketWatchEnv"]

_REPAIR = 0


class PocketWatchEnv(gym.Env[NDArray[np.int64], np.int64]):
    """The pocket watch repair of RUDDER (Arjona-Medina et al., 2019, arXiv 1806.07857).

    A watch of one of four brands comes in, each equally often. Whoever repairs it (action 0) in
    the first step pays the repair at once. In every step small and large delays may happen. In the
    last step a repaired watch earns its price less what they and its delivery cost. Declining
    (action 1) earns nothing. Later actions have no effect. On average brands A and D lose 1.5, and
    B and C gain 3.5, of which the agent sees but the cost at first: that makes it a task of delayed
    reward.

    Brands, prices, costs, probabilities and the 50 steps are those of the public demonstration of
    RUDDER. Ours are: the names, the order of the observation as an array of whole numbers, the
    action mask, that two actions are accepted in every step, and the generator of random numbers.

    The observation is (repaired, minor delays, traffic jams, brand, step).

    Args:
        transport_time: The number of steps of an episode.

    Raises:
        InvalidOptionError: If the time is no whole number from 1.

    >>> env = PocketWatchEnv()
    >>> observation, info = env.reset(seed=0)
    >>> env.captioner.description.action_names
    ('repair', 'decline or wait')
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, *, transport_time: int = 50) -> None:
        self._captioner = PocketWatchCaptioner(transport_time)
        self._length = transport_time
        most = transport_time + 1
        self.observation_space = gym.spaces.MultiDiscrete([2, most, most, len(BRANDS), most])
        self.action_space = gym.spaces.Discrete(2)
        self._started = False

    @property
    def captioner(self) -> Captioner:
        """How this environment speaks."""
        return self._captioner

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Take in a watch.

        Args:
            seed: Seeds `np_random`; None continues its stream.
            options: Not used.
        """
        super().reset(seed=seed, options=options)
        self._brand = int(self.np_random.integers(len(BRANDS)))
        self._repaired, self._step, self._started = False, 0, True
        self._events = np.zeros(len(EVENTS), np.int64)
        return self._observation(), {}

    def step(self, action: Any) -> tuple[NDArray[np.int64], float, bool, bool, dict[str, Any]]:
        """Decide, or wait.

        Args:
            action: 0 to repair, 1 to decline; without effect after the first step.

        Raises:
            ResetNeeded: If there was no reset before, or the episode is over.
            InvalidOptionError: If the action is neither 0 nor 1.
        """
        if not self._started or self._step == self._length:
            raise ResetNeeded("call reset() before step()")
        if not self.action_space.contains(action):
            raise InvalidOptionError(f"expected the action 0 or 1, got {action!r}")
        reward = self._decide(int(action)) if self._step == 0 else 0.0
        self._step += 1
        chances = np.array([event.probability for event in EVENTS])
        self._events += self.np_random.random(len(EVENTS)) < chances
        terminated = self._step == self._length
        if terminated and self._repaired:
            reward += self._sale()
        return self._observation(), reward, terminated, False, {}

    def action_masks(self) -> NDArray[np.bool_]:
        """Return which actions have an effect: both in the first step, then only waiting."""
        return np.array([self._started and self._step == 0, True])

    def _decide(self, action: int) -> float:
        self._repaired = action == _REPAIR
        if not self._repaired:
            return 0.0
        brand = BRANDS[self._brand]
        return -float(self.np_random.normal(brand.repair_cost, brand.repair_spread))

    def _sale(self) -> float:
        brand = BRANDS[self._brand]
        delivery = self.np_random.normal(brand.delivery_cost, brand.delivery_spread)
        road = self._events @ np.array([event.cost for event in EVENTS])
        return float(brand.price - delivery - road)

    def _observation(self) -> NDArray[np.int64]:
        return np.array([self._repaired, *self._events, self._brand, self._step], np.int64)
