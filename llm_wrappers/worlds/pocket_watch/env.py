"""RUDDER's pocket watches: one decision, its reward much later, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner, Facts, StateByState
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError

__all__ = [
    "BRANDS",
    "EVENTS",
    "Brand",
    "Event",
    "PocketWatchCaptioner",
    "PocketWatchEnv",
    "pocket_watch",
]


@dataclass(frozen=True)
class Brand:
    """The watches of one brand; all numbers in units of reward.

    Args:
        name: What it is called.
        price: What a repaired watch is sold for.
        repair_cost: What its repair costs on average.
        repair_spread: The standard deviation of that.
        delivery_cost: What its delivery costs on average, beside what happens on the way.
        delivery_spread: The standard deviation of that.
    """

    name: str
    price: float
    repair_cost: float
    repair_spread: float
    delivery_cost: float
    delivery_spread: float


@dataclass(frozen=True)
class Event:
    """Something that happens on the way and makes the delivery dearer.

    Args:
        name: What it is called.
        probability: With which it happens in each step.
        cost: What each of it costs, in units of reward.
    """

    name: str
    probability: float
    cost: float


BRANDS = (
    Brand("A", 18.0, 1.0, 2.0, 0.5, 1.5),
    Brand("B", 28.0, 4.0, 2.0, 2.5, 1.5),
    Brand("C", 31.0, 5.0, 2.0, 4.5, 1.5),
    Brand("D", 59.0, 24.5, 1.0, 18.0, 1.5),
)
"""The four brands, with the numbers of RUDDER's public demonstration; the names are ours."""

EVENTS = (Event("minor delay", 0.1, 0.1), Event("traffic jam", 0.05, 7.0))
"""What happens on the way, with the numbers of the demonstration; the names are ours."""

_RULES = (
    "You run a workshop that mends pocket watches. A watch of one of four brands comes in, and "
    "you decide in the first step whether to repair it. If you do, you pay the repair at once; "
    "the watch then travels for {steps} steps, in which you have nothing to decide, and in the "
    "last step you earn its price less what the delivery cost: something that depends on the "
    "brand, 0.1 for each minor delay (one step in ten) and 7 for each traffic jam (one step in "
    "twenty). If you decline, you earn and pay nothing. Repair the watches that earn more than "
    "they cost on average."
)
_FACTS = (
    "price, repair_cost and delivery_cost are those of the brand, the costs on average; "
    "expected_road_cost is what delays and traffic jams cost on average on the whole way. The "
    "decision is still open where step is 0."
)
_ACTIONS = ("repair", "decline or wait")
_COLUMNS = 5


class PocketWatchCaptioner(StateByState):
    """Speaks about one watch, and knows what its brand earns and costs on average.

    The facts are `brand`, its `price`, `repair_cost` and `delivery_cost` (averages), what the
    road costs on average on the whole way (`expected_road_cost`), `step`, `repaired`, and how many
    `minor_delays` and `traffic_jams` there were.

    Args:
        transport_time: The number of steps of an episode.
        env_id: The Gymnasium id.

    Raises:
        InvalidOptionError: If the time is no whole number from 1.

    >>> captioner = PocketWatchCaptioner()
    >>> captioner.state_captions(captioner.facts(np.array([[0, 0, 0, 3, 0]]), {}))
    ['A pocket watch of brand D came in. Repaired it sells for 59; on average the repair costs 24.5,
    its delivery 18 and delays on the road 18.']
    """

    def __init__(
        self, transport_time: int = 50, *, env_id: str = "llm_wrappers/PocketWatch-v0"
    ) -> None:
        if type(transport_time) is not int or transport_time < 1:
            raise InvalidOptionError(
                f"transport_time must be a whole number of steps from 1, got {transport_time!r}"
            )
        self._road_cost = transport_time * sum(e.probability * e.cost for e in EVENTS)
        self._description = EnvDescription(
            env_id=env_id,
            rules=_RULES.format(steps=transport_time),
            action_names=_ACTIONS,
            facts=_FACTS,
        )

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> list[Facts]:
        """Return the watch of each sub-environment.

        Args:
            observations: Whole numbers of shape (n, 5): repaired, minor delays, traffic jams,
                brand, step.
            infos: Not read.

        Raises:
            InvalidOptionError: If the observations are no such array.
        """
        rows = np.asarray(observations)
        if rows.ndim != 2 or rows.shape[1] != _COLUMNS:
            raise InvalidOptionError(
                f"observations of pocket watches must have the shape (n, {_COLUMNS}), "
                f"got {rows.shape}"
            )
        return [self._facts(*row) for row in rows.tolist()]

    def _state(self, facts: Facts) -> str:
        return _offer(facts) if facts["step"] == 0 else _way(facts)

    def _transition(self, before: Facts, action: Any, after: Facts) -> str:
        return _decision(before, int(action))

    def legal_actions(self, facts: Sequence[Facts]) -> NDArray[np.bool_]:
        """Return which actions have an effect: both in the first step, then only waiting."""
        return np.array([[row["step"] == 0, True] for row in facts], dtype=np.bool_)

    def _facts(self, repaired: int, delays: int, jams: int, brand: int, step: int) -> Facts:
        of_brand = BRANDS[brand]
        return {
            "brand": of_brand.name,
            "price": of_brand.price,
            "repair_cost": of_brand.repair_cost,
            "delivery_cost": of_brand.delivery_cost,
            "expected_road_cost": self._road_cost,
            "step": step,
            "repaired": bool(repaired),
            "minor_delays": delays,
            "traffic_jams": jams,
        }


def _offer(facts: Facts) -> str:
    return (
        f"A pocket watch of brand {facts['brand']} came in. Repaired it sells for "
        f"{facts['price']:g}; on average the repair costs {facts['repair_cost']:g}, its delivery "
        f"{facts['delivery_cost']:g} and delays on the road {facts['expected_road_cost']:g}."
    )


def _way(facts: Facts) -> str:
    if not facts["repaired"]:
        return f"You declined the watch of brand {facts['brand']}; step {facts['step']}."
    return (
        f"The repaired watch of brand {facts['brand']} is on its way; step {facts['step']}. So far "
        f"{facts['minor_delays']} minor delays and {facts['traffic_jams']} traffic jams."
    )


def _decision(before: Facts, action: int) -> str:
    if before["step"] != 0:
        return "wait"
    return f"{'repair' if action == 0 else 'decline'} a watch of brand {before['brand']}"


_REPAIR = 0


def pocket_watch(facts: Mapping[str, Any], action: Any) -> int:
    """Judge the decision in the first step by the average profit; 0 in all later steps.

    This is exact: the averages are those of the environment.

    >>> watch = {"step": 0, "price": 28, "repair_cost": 4, "delivery_cost": 2.5}
    >>> pocket_watch({**watch, "expected_road_cost": 18}, 0)
    1
    """
    if facts["step"] != 0:
        return 0
    costs = facts["repair_cost"] + facts["delivery_cost"] + facts["expected_road_cost"]
    profit = facts["price"] - costs
    sign = (profit > 0) - (profit < 0)
    return int(sign if int(action) == _REPAIR else -sign)


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
