"""Which goals an episode reached, from the info of its last step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.methods._names import plain

__all__ = ["Achieved", "reached_goals"]

Achieved: TypeAlias = "Callable[[Mapping[str, Any]], Collection[str]]"

_ADVICE = (
    "pass achieved=, a function from the info of an episode's last step to the goals that the "
    "episode reached"
)


def reached_goals(
    info: Mapping[str, Any], goals: Sequence[str], achieved: Achieved | None = None
) -> frozenset[str]:
    """Return the goals that an episode reached.

    Args:
        info: The info of its last step.
        goals: The goal vocabulary.
        achieved: From the info to the goals reached; None reads ``info["achievements"]``, a
            mapping of name to count as Crafter and Craftax-Classic give it, where an underscore is
            as good as a space. Achievements that are no goals are left out.

    Raises:
        IncompatibleEnvironmentError: If the info has no achievements, or none of them is a goal.
        InvalidOptionError: If `achieved` returns something else than goals of the vocabulary.

    >>> info = {"achievements": {"collect_wood": 3, "eat_cow": 0}}
    >>> sorted(reached_goals(info, ["collect wood", "eat cow", "wake up"]))
    ['collect wood']
    """
    if achieved is None:
        return _from_achievements(info, goals)
    reached = achieved(info)
    if isinstance(reached, str) or not isinstance(reached, Collection):
        raise InvalidOptionError(f"expected achieved to return a list of goals, got {reached!r}")
    unknown = [goal for goal in reached if goal not in goals]
    if unknown:
        raise InvalidOptionError(
            f"expected achieved to return goals of the vocabulary {list(goals)}, got {unknown}"
        )
    return frozenset(reached)


def _from_achievements(info: Mapping[str, Any], goals: Sequence[str]) -> frozenset[str]:
    achievements = info.get("achievements")
    if not isinstance(achievements, Mapping):
        raise IncompatibleEnvironmentError(
            "expected info['achievements'], name -> count, at the end of an episode, got "
            f"{achievements!r}; {_ADVICE}"
        )
    known = {plain(goal): goal for goal in goals}
    counts = {known[plain(name)]: n for name, n in achievements.items() if plain(name) in known}
    if not counts:
        raise IncompatibleEnvironmentError(
            f"expected achievements among the goals {list(goals)}, got {list(achievements)}; "
            f"{_ADVICE}"
        )
    return frozenset(goal for goal, count in counts.items() if count > 0)
