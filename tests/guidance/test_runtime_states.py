"""Made-up states at the edges of recorded ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.sandbox import extreme_states
from llm_wrappers.sandbox.states import distinct_states

values = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.sampled_from("ab")
states = st.lists(
    st.dictionaries(st.sampled_from("xyz"), values | st.lists(st.sampled_from("pq")).map(tuple)),
    min_size=1,
    max_size=5,
)


class TestExtremeStates:
    def test_zeros_nothing_and_far(self):
        made = extreme_states(
            [
                {"n": 3, "f": 1.5, "on": True, "near": 2, "seen": ("a",), "facing": "tree"},
                {"n": 0, "f": 0.5, "on": False, "near": None, "seen": ("b",), "facing": "cow"},
            ]
        )
        zero = {"n": 0, "f": 0.0, "on": False, "near": 0, "seen": (), "facing": "tree"}
        assert made[0] == zero
        assert made[1] == {**zero, "near": None}
        assert made[2] == {
            "n": 30, "f": 15.0, "on": True, "near": 20, "seen": ("a", "b"), "facing": "cow",
        }  # fmt: skip

    def test_single_facts_are_exchanged(self):
        recorded = [{"n": 3, "on": True}, {"n": 5, "on": False}]
        made = extreme_states(recorded)
        for single in ({"n": 0, "on": True}, {"n": 50, "on": True}, {"n": 3, "on": False}):
            assert single in made

    def test_facts_are_left_out_only_where_states_may_lack_them(self):
        assert all(
            "n" in state and "on" in state for state in extreme_states([{"n": 1, "on": True}])
        )
        made = extreme_states([{"n": 1, "on": True}, {"n": 1}, {"n": 2, "x": 0, "on": True}])
        assert any("x" not in state and "on" not in state for state in made)
        assert any("x" not in state and "on" in state for state in made)
        assert any("x" in state and "on" not in state for state in made)
        assert all("n" in state for state in made)

    def test_none_only_where_it_occurs(self):
        never = extreme_states([{"n": 1, "m": 1}, {"n": 4, "m": None}])
        assert all(state["n"] is not None for state in never)
        assert {"n": 1, "m": None} in never

    @given(states, st.integers(1, 30))
    @settings(deadline=None)
    def test_always_the_same_bounded_new_and_distinct(self, recorded, most):
        made = extreme_states(recorded, most=most)
        assert made == extreme_states(recorded, most=most)
        assert len(made) <= most
        assert len(distinct_states(recorded + made)) == len(distinct_states(recorded)) + len(made)
        known = {name for state in recorded for name in state}
        assert all(set(state) <= known for state in made)

    def test_the_bound_does_not_forget_the_last_facts(self):
        recorded = [{f"f{number}": 1 for number in range(60)}]
        made = extreme_states(recorded, most=100)
        assert {**recorded[0], "f59": 0} in made

    def test_without_states_there_is_nothing_to_start_from(self):
        with pytest.raises(InvalidOptionError, match="at least one recorded state, got none"):
            extreme_states([])
