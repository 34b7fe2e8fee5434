"""What is worth repairing: the judgement of RUDDER's pocket watches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["pocket_watch"]

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
