"""What is worth tidying up: the judgement of the household."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_wrappers.worlds.household.table import household_table

__all__ = ["household"]


def household(facts: Mapping[str, Any], action: Any) -> int:
    """Judge an action by the table of the household, from which its rewards come too.

    Picking up is +1 for what lies in a wrong place and -1 for what lies right; putting down is +1
    in a right place and -1 in a wrong one; what has no effect is 0.

    >>> desk = household_table().action_names().index("put it on the desk")
    >>> household({"holding": "banana"}, desk)
    -1
    """
    table, index = household_table(), int(action)
    held = facts["holding"]
    if index < len(table.objects):
        thing = table.objects[index]
        place = facts[f"place of {thing}"]
        if held is not None or place is None:
            return 0
        return -1 if table.is_right(thing, place) else 1
    if held is None:
        return 0
    return 1 if table.is_right(held, table.receptacles[index - len(table.objects)]) else -1
