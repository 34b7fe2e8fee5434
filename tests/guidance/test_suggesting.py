"""Asking a suggester: what it is given, what is remembered, what is kept of its answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_wrappers.captions.facts_table import FactColumns, FactsTable
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.suggester import FunctionSuggester
from llm_wrappers.guidance.suggesting import (
    MOST_CHARACTERS,
    MOST_GOALS,
    Suggesting,
    facts_keys,
    facts_row,
)

COLUMNS = (FactColumns("wood", (0, 1, 2)), FactColumns("dark", (False, True)))
TABLE = FactsTable(COLUMNS, np.array([[2, 0], [2, 1], [0, 0]], dtype=np.int8))
ROWS = [dict(row) for row in TABLE]


class Noted:
    """A pure suggester that notes what it is given."""

    pure = True

    def __init__(self, reads: tuple[str, ...] | None = None) -> None:
        self.reads = reads
        self.given: list[Any] = []

    def suggest(self, states: Any) -> list[list[str]]:
        self.given.append([dict(row) for row in states.facts])
        self.captions = states.captions
        return [[f"wood {facts['wood']}"] for facts in states.facts]


def asking(suggester: Any) -> Suggesting:
    return Suggesting(suggester, caption=lambda facts: [f"dark is {row['dark']}" for row in facts])


@pytest.mark.parametrize("facts", [TABLE, ROWS], ids=["table", "dicts"])
def test_a_pure_suggester_is_given_what_it_reads_once_per_value(facts: Any) -> None:
    suggester = Noted(("wood",))
    suggesting = asking(suggester)
    expected = [("wood 2",), ("wood 2",), ("wood 0",)]
    assert suggesting.goals(facts, range(3)) == expected
    assert suggester.given == [[{"wood": 2}, {"wood": 0}]]
    # A caption is of the whole state, although the suggester reads a part of it.
    assert suggester.captions == ("dark is True", "dark is False")
    assert suggesting.goals(facts, [2, 0]) == [expected[2], expected[0]]
    assert len(suggester.given) == 1
    assert suggesting.counts["states"] == 5
    assert suggesting.states_asked == 2


@pytest.mark.parametrize("facts", [TABLE, ROWS], ids=["table", "dicts"])
def test_a_fact_that_does_not_exist_is_the_users_mistake(facts: Any) -> None:
    with pytest.raises(InvalidOptionError, match="stone"):
        asking(Noted(("stone",))).goals(facts, range(3))
    with pytest.raises(InvalidOptionError, match="stone"):
        facts_row(ROWS, 0, ("stone",))


@pytest.mark.parametrize("facts", [TABLE, ROWS], ids=["table", "dicts"])
@pytest.mark.parametrize("reads", [None, ("wood",), ("dark", "wood"), ()])
def test_keys_are_equal_where_the_facts_read_are(facts: Any, reads: Any) -> None:
    keys = facts_keys(facts, reads)
    for i, one in enumerate(ROWS):
        for j, other in enumerate(ROWS):
            names = one if reads is None else reads
            assert (keys[i] == keys[j]) == all(one[name] == other[name] for name in names)


def test_facts_cannot_be_changed_by_a_suggester() -> None:
    def change(states: Any) -> Any:
        states.facts[0]["wood"] = 9
        return [["x"]]

    facts = [{"wood": 1, "dark": False}]
    suggesting = asking(FunctionSuggester(change))
    with pytest.warns(UserWarning, match="does not support item assignment"):
        assert suggesting.goals(facts, [0]) == [()]
    assert facts == [{"wood": 1, "dark": False}]


def test_nothing_is_asked_about_no_states() -> None:
    suggester = Noted()
    assert asking(suggester).goals(ROWS, []) == []
    assert asking(FunctionSuggester(lambda states: 1 / 0)).goals(ROWS, []) == []  # type: ignore[arg-type, return-value]
    assert suggester.given == []


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
    assert counts["suggester_failures"] + counts["unanswered"] <= 3
