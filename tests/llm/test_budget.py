"""What a budget accepts."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.budget import Budget

LIMITS = ("calls", "tokens", "dollars", "requests_per_minute")

budgets = st.builds(
    Budget,
    calls=st.none() | st.integers(0),
    tokens=st.none() | st.integers(0),
    dollars=st.none() | st.floats(0, 1e9),
    requests_per_minute=st.none() | st.integers(1),
)


@given(budgets)
def test_a_budget_travels_as_a_pickle_and_as_json(budget):
    assert pickle.loads(pickle.dumps(budget)) == budget
    assert Budget(**json.loads(json.dumps(budget.as_dict()))) == budget
    assert hash(budget) == hash(Budget(**budget.as_dict()))


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize(
    "value", [-1, True, False, "5", float("nan"), float("inf"), [1], np.bool_(True), 1j],
    ids=repr,
)  # fmt: skip
def test_what_is_no_limit_is_refused(limit, value):
    with pytest.raises(InvalidOptionError, match=f"{limit} must be a .*, got "):
        Budget(**{limit: value})


def test_a_rate_of_zero_would_wait_for_ever():
    with pytest.raises(InvalidOptionError, match="requests_per_minute must be a whole number >= 1"):
        Budget(requests_per_minute=0)


@pytest.mark.parametrize("name", ["", "  ", 5, b"thesis", True], ids=repr)
def test_a_name_is_a_text(name):
    with pytest.raises(InvalidOptionError, match="name of a budget as a non-empty text"):
        Budget(calls=1, name=name)


def test_a_name_without_a_limit_would_do_nothing():
    with pytest.raises(InvalidOptionError, match="expected a limit for the budget named 'thesis'"):
        Budget(name="thesis")
