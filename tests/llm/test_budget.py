"""What a budget accepts."""

import json
import pickle
from dataclasses import FrozenInstanceError
from decimal import Decimal
from fractions import Fraction

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


def test_no_limit_is_the_default():
    assert Budget().unlimited
    assert set(Budget().as_dict().values()) == {None}


@pytest.mark.parametrize("limit", LIMITS)
def test_any_limit_limits(limit):
    assert not Budget(**{limit: 1}).unlimited


@pytest.mark.parametrize("limit", ["calls", "tokens", "dollars"])
def test_zero_is_a_limit(limit):
    assert not Budget(**{limit: 0}).unlimited


def test_numbers_of_numpy_become_plain_ones():
    budget = Budget(calls=np.int64(3), dollars=np.float32(0.5))
    assert (type(budget.calls), type(budget.dollars)) == (int, float)
    assert json.dumps(budget.as_dict())
    assert Budget(dollars=Fraction(1, 2)).dollars == 0.5


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize(
    "value", [-1, True, False, "5", float("nan"), float("inf"), [1], np.bool_(True), 1j],
    ids=repr,
)  # fmt: skip
def test_what_is_no_limit_is_refused(limit, value):
    with pytest.raises(InvalidOptionError, match=f"{limit} must be a .*, got "):
        Budget(**{limit: value})


@pytest.mark.parametrize("limit", ["calls", "tokens", "requests_per_minute"])
@pytest.mark.parametrize("value", [0.5, 5.0, Decimal(5)], ids=repr)
def test_counts_are_whole_numbers(limit, value):
    with pytest.raises(InvalidOptionError, match=f"{limit} must be a whole number"):
        Budget(**{limit: value})


def test_money_fits_into_a_float():
    with pytest.raises(InvalidOptionError, match="dollars must be a finite number"):
        Budget(dollars=10**400)


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


def test_a_budget_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Budget(calls=1).calls = 2
