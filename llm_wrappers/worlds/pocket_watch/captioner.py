"""What is known of RUDDER's pocket watches: their numbers, captions, and the judgement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Facts, StateByState
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError

__all__ = ["BRANDS", "EVENTS", "Brand", "Event", "PocketWatchCaptioner", "pocket_watch"]


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
