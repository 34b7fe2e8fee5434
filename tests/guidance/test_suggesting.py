"""Asking a suggester: what is kept of its answers, and whom it is asked about."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import GuidanceWarning
from llm_wrappers.guidance.suggester import FunctionSuggester
from llm_wrappers.guidance.suggesting import MOST_CHARACTERS, MOST_GOALS, Suggesting

ROWS = [{"wood": 2}, {"wood": 1}, {"wood": 0}]


def asking(suggester: Any) -> Suggesting:
    return Suggesting(suggester, caption=lambda facts: [f"wood {row['wood']}" for row in facts])


class Following:
    """A suggester that follows episodes, and so is asked about every state."""

    def __init__(self, *, pure: bool = False) -> None:
        self.pure = pure
        self.given: list[list[int]] = []

    def reset(self, mask: Any) -> None:
        self.fresh = mask

    def suggest(self, states: Any) -> list[list[str]]:
        self.given.append([row["wood"] for row in states.facts])
        if len(states) != 3:
            raise RuntimeError("not all of them")
        return [[caption] for caption in states.captions]


def test_one_that_follows_episodes_is_always_asked_about_all_states() -> None:
    suggester = Following()
    suggesting = asking(suggester)
    assert suggesting.goals(ROWS, [2, 0]) == [("wood 0",), ("wood 2",)]
    assert suggesting.goals(ROWS, []) == []
    assert suggester.given == [[2, 1, 0]]
    assert suggesting.states_asked == 3
    assert suggesting.counts["states"] == suggesting.counts["consulted"] == 2


def test_one_that_follows_episodes_and_fails_is_not_asked_about_some_of_them() -> None:
    suggester = Following()
    suggesting = asking(suggester)
    with pytest.warns(GuidanceWarning, match="not all of them"):
        assert suggesting.goals(ROWS[:2], [1]) == [()]
    assert suggester.given == [[2, 1]]
    assert suggesting.counts["suggester_failures"] == suggesting.counts["unguided"] == 1


def test_one_that_is_pure_is_asked_about_what_is_wanted() -> None:
    suggester = Following(pure=True)
    with pytest.warns(GuidanceWarning, match="not all of them"):
        asking(suggester).goals(ROWS, [1])
    assert suggester.given == [[1]]


def test_what_is_kept_of_an_answer() -> None:
    answers = [["eat cow", "", "eat cow", " ", 7, "x" * (MOST_CHARACTERS + 1)], [], None]
    suggesting = asking(FunctionSuggester(lambda states: answers))  # type: ignore[arg-type, return-value]
    assert suggesting.goals(ROWS, range(3)) == [("eat cow",), (), ()]
    counts = suggesting.counts
    assert (counts["suggestions"], counts["dropped_goals"], counts["unanswered"]) == (1, 4, 1)
    assert counts["unguided"] == 1  # An empty list is an answer: nothing is suggested.


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=12,
)


@pytest.mark.filterwarnings("ignore:the suggester failed:llm_wrappers.errors.GuidanceWarning")
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answers=st.lists(anything, min_size=3, max_size=3) | anything)
def test_whatever_is_answered_goals_are_distinct_texts(answers: Any) -> None:
    suggesting = asking(FunctionSuggester(lambda states: answers))
    goals = suggesting.goals(ROWS, range(3))
    assert len(goals) == 3
    for each in goals:
        assert len(set(each)) == len(each) <= MOST_GOALS
        assert all(type(goal) is str and goal.strip() for goal in each)
        assert all(len(goal) <= MOST_CHARACTERS for goal in each)
    counts = suggesting.counts
    assert counts["states"] == 3
    assert counts["suggestions"] == sum(map(len, goals))
    assert counts["suggester_failures"] + counts["unanswered"] == counts["unguided"] <= 3
